//! The inputs of a build: files whose change makes another build necessary.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Source;

/// The files and folders that the sources of `app` are built of, whether they are there or not: all
/// that cargo says it has read (`dep_infos`: path dependencies, what is included, what a build
/// script looks at), each package's manifest and `src`, the configuration of cargo, and the list of
/// the page's packages.
pub(crate) fn inputs<'a>(
    app: &Path,
    sources: impl IntoIterator<Item = &'a Source>,
    dep_infos: &[PathBuf],
) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::from(["package.json", "package-lock.json"].map(|name| app.join(name)));
    for source in sources {
        match source {
            Source::File(file) => {
                all.insert(file.clone());
            }
            Source::Crate { folder, .. } => {
                let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
                all.extend(package(&folder));
                all.extend(folder.ancestors().flat_map(configuration));
            }
        }
    }
    for read in dep_infos.iter().filter_map(|file| fs::read_to_string(file).ok()) {
        for path in prerequisites(&read) {
            let has_manifest = |folder: &&Path| folder.join("Cargo.toml").is_file();
            if let Some(folder) = path.ancestors().skip(1).find(has_manifest) {
                all.extend(package(folder));
            }
            all.insert(path);
        }
    }
    all
}

/// The inputs of a package in its own folder.
fn package(folder: &Path) -> [PathBuf; 3] {
    ["Cargo.toml", "build.rs", "src"].map(|name| folder.join(name))
}

/// Files in a folder around a package that change its build.
fn configuration(folder: &Path) -> [PathBuf; 6] {
    let names = [
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
        ".cargo/config",
        "rust-toolchain.toml",
        "rust-toolchain",
    ];
    names.map(|name| folder.join(name))
}

/// Whether a build writes this file as well as reads it.
pub(super) fn is_written_by_builds(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name == "Cargo.lock" || name == "package-lock.json"
}

/// The names behind the colon of each rule in a file in the format of make, as cargo writes it: one
/// rule in each line, and a backslash before a space in a name.
fn prerequisites(dep_info: &str) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for (_, names) in dep_info.lines().filter_map(|line| line.split_once(": ")) {
        let mut name = String::new();
        let mut chars = names.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' if chars.peek() == Some(&' ') => name.extend(chars.next()),
                ' ' if !name.is_empty() => {
                    all.insert(PathBuf::from(std::mem::take(&mut name)));
                }
                ' ' => {}
                _ => name.push(char),
            }
        }
        if !name.is_empty() {
            all.insert(PathBuf::from(name));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_dep_info_may_have_spaces() {
        let info = "/t/a.wasm: /my\\ app/src/lib.rs /shared/src/lib.rs\n\n/t/b.wasm: /b.txt\n";
        let expected = ["/b.txt", "/my app/src/lib.rs", "/shared/src/lib.rs"].map(PathBuf::from);
        assert_eq!(prerequisites(info), BTreeSet::from(expected));
        assert_eq!(prerequisites(""), BTreeSet::new());
    }

    #[test]
    fn what_another_package_is_built_of_counts_too() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        for folder in ["plugin/src", "shared/src"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for manifest in ["plugin/Cargo.toml", "shared/Cargo.toml"] {
            fs::write(root.join(manifest), "").unwrap();
        }
        let info = root.join("plugin.d");
        let read = ["plugin/src/lib.rs", "shared/src/lib.rs", "text.txt"];
        let names = read.map(|name| root.join(name).display().to_string()).join(" ");
        fs::write(&info, format!("/t/plugin.wasm: {names}\n")).unwrap();
        let source = Source::package(&root, "plugin", &root.join("plugin"));
        let found = inputs(&root, [&source], &[info]);
        for name in [
            "plugin/src",
            "plugin/Cargo.toml",
            "plugin/.cargo/config.toml",
            "Cargo.lock",
            "shared/src",
            "shared/Cargo.toml",
            "text.txt",
            "rust-toolchain.toml",
            "package.json",
        ] {
            assert!(found.contains(&root.join(name)), "{name} is missing in {found:?}");
        }
    }
}
