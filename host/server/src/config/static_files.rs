//! `[static]`: the files that are served over plain HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::CONFIG_FILE;
use crate::plugin::BUILT_FOLDER;

/// The files that are served over plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticFiles {
    /// The folder that is served at `/`, without names that begin with a dot.
    pub dir: Option<PathBuf>,
    /// Single files by their URL paths.
    pub files: BTreeMap<String, PathBuf>,
    /// The headers of each response, in place of or in addition to those it has anyway.
    pub headers: BTreeMap<String, String>,
    /// The files of the app itself, which are never served from `dir`.
    pub hidden: Vec<PathBuf>,
}

impl StaticFiles {
    /// Refuses a folder with an app in it: its configuration has tokens, and nobody may read its
    /// components.
    pub(super) fn check(&self, app: &Path) -> Result<(), String> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let real = |path: &Path| fs::canonicalize(path).ok();
        // A folder that does not exist yet may be made by building: see `check_there`.
        let (Some(dir), Some(app)) = (real(dir), real(app)) else { return Ok(()) };
        let holds = match [CONFIG_FILE, BUILT_FOLDER].into_iter().find(|n| dir.join(n).exists()) {
            Some(name) => name,
            None if app.starts_with(&dir) => "this app",
            None => return Ok(()),
        };
        Err(format!(
            "static.dir is {}, and {holds} is in it, whose tokens and components are for nobody; \
             put the page into a folder of its own, such as dir = \"web\"",
            dir.display()
        ))
    }

    /// Checks that the folder exists. That is done when the server starts, because building may
    /// make the folder. Returns a text for the operator about each single file that does not exist.
    pub(crate) fn check_there(&self) -> Result<Vec<String>, String> {
        if let Some(dir) = self.dir.as_deref().filter(|dir| !dir.is_dir()) {
            let found = if dir.exists() { "is no folder" } else { "is not there" };
            return Err(format!(
                "static.dir is {}, which {found}; make it (building the page may), name another \
                 one, or leave static.dir out",
                dir.display()
            ));
        }
        let missing = self.files.iter().filter(|(_, path)| !path.is_file());
        Ok(missing
            .map(|(url, path)| {
                let path = path.display();
                format!(
                    "static.files has {url:?} = {path}, where no file is: it gets 404 until one is"
                )
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::App;

    #[test]
    fn a_folder_with_an_app_in_it_is_no_page() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("app");
        for below in ["web", "other", "built/.millrace"] {
            fs::create_dir_all(app.join(below)).unwrap();
        }
        fs::write(app.join("other/millrace.toml"), "").unwrap();
        let load = |dir: &str| {
            let text = format!("[static]\ndir = {dir:?}\n");
            fs::write(app.join("millrace.toml"), &text).unwrap();
            fs::write(app.join("web/app.toml"), "[static]\ndir = \".\"").unwrap();
            App::load(&app).map_err(|error| error.to_string())
        };
        for dir in [".", "..", "web/..", "other", "built"] {
            let error = load(dir).unwrap_err();
            assert!(error.contains("is in it") && error.contains("dir = \"web\""), "{error}");
        }
        let hidden = load("web").unwrap().static_files.hidden;
        assert_eq!(hidden, [app.join("millrace.toml")]);
        let unbuilt = load("not-built-yet").unwrap().static_files;
        let error = unbuilt.check_there().unwrap_err();
        assert!(error.contains("not-built-yet, which is not there; make it"), "{error}");
        let file = load("millrace.toml").unwrap().static_files;
        assert!(file.check_there().unwrap_err().contains("is no folder"));
        let error = App::load(&app.join("web/app.toml")).unwrap_err().to_string();
        assert!(error.contains("this app is in it"), "{error}");
    }
}
