//! The source of a plugin's component.

use std::path::{Path, PathBuf};

/// The source of a plugin's component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A `.wasm` file as it is.
    File(PathBuf),
    /// A Cargo package; its component is written to `built`.
    Crate {
        /// The folder with its `Cargo.toml`.
        folder: PathBuf,
        /// The file that `millrace build` writes the component to.
        built: PathBuf,
    },
}

/// The folder inside an app for built components; it is not for git.
pub(crate) const BUILT_FOLDER: &str = ".millrace";

impl Source {
    /// The package in `folder`, as the plugin `name` of the app in `app`.
    #[must_use]
    pub fn package(app: &Path, name: &str, folder: &Path) -> Self {
        let built = app.join(BUILT_FOLDER).join(format!("{name}.wasm"));
        Self::Crate { folder: folder.to_owned(), built }
    }

    /// The `.wasm` file, which may not have been built yet.
    #[must_use]
    pub fn component(&self) -> &Path {
        match self {
            Self::File(file) => file,
            Self::Crate { built, .. } => built,
        }
    }
}
