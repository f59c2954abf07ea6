//! Where a plugin's component comes from.

use std::path::{Path, PathBuf};

/// Where a plugin's component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A `.wasm` file as it is.
    File(PathBuf),
    /// A Cargo package, whose component is kept under `built`.
    Crate {
        /// The folder with its `Cargo.toml`.
        folder: PathBuf,
        /// Where `millrace build` puts the component.
        built: PathBuf,
    },
}

/// The folder inside an app where built components are kept; not for git.
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
