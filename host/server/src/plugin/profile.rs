//! The settings of cargo for building plugins: its release profile, as the author has it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The purpose of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildFor {
    /// Serving: the component is small and fast.
    Serving,
    /// Trying out: the build is fast, after each change.
    Trying,
}

/// The keys of the release profile for serving, where the author has not chosen otherwise: small
/// and fast, with function names for backtraces but no other debug information.
const SERVING: [(&str, &str); 4] =
    [("codegen-units", "1"), ("debug", "false"), ("lto", "true"), ("strip", "debuginfo")];
/// The keys for trying out, whatever the author has chosen: they leave out what takes most of the
/// time of a build. Cargo's own release builds share the compiled dependencies.
const TRYING: [(&str, &str); 2] = [("incremental", "true"), ("lto", "false")];

impl BuildFor {
    /// The environment variables for cargo, which runs in `folder`.
    pub(super) fn environment(self, folder: &Path) -> Vec<(String, &'static str)> {
        let variable =
            |key: &str| format!("CARGO_PROFILE_RELEASE_{}", key.to_uppercase().replace('-', "_"));
        let chosen = match self {
            Self::Serving => AuthorProfile::by_author_of(folder),
            Self::Trying => AuthorProfile::default(),
        };
        let keys: &[(&str, &str)] = if self == Self::Serving { &SERVING } else { &TRYING };
        let open = keys.iter().filter(|(key, _)| !chosen.has(key));
        let variables = open.map(|(key, value)| (variable(key), *value));
        let is_unset = |name: &str| self == Self::Trying || env::var_os(name).is_none();
        variables.filter(|(name, _)| is_unset(name)).collect()
    }
}

/// The release profiles of the author, one for each file that has one.
#[derive(Debug, Default)]
struct AuthorProfile(Vec<toml::Table>);

impl AuthorProfile {
    fn by_author_of(folder: &Path) -> Self {
        let configs = folder.ancestors().flat_map(|folder| {
            ["config.toml", "config"].map(|name| folder.join(".cargo").join(name))
        });
        let files = workspace_manifest(folder).into_iter().chain(configs);
        Self(files.filter_map(|file| release_profile(&file)).collect())
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|profile| profile.contains_key(key))
    }
}

/// `[profile.release]` of a file, if it has one.
fn release_profile(file: &Path) -> Option<toml::Table> {
    let text = fs::read_to_string(file).ok()?;
    let mut table: toml::Table = text.parse().ok()?;
    let toml::Value::Table(mut profiles) = table.remove("profile")? else { return None };
    match profiles.remove("release")? {
        toml::Value::Table(release) => Some(release),
        _ => None,
    }
}

/// The manifest whose profiles count: that of the workspace.
fn workspace_manifest(folder: &Path) -> Option<PathBuf> {
    let located = cargo(folder)
        .args(["locate-project", "--workspace", "--message-format=plain"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let path = String::from_utf8(located.stdout).ok()?;
    Some(PathBuf::from(path.trim_end()))
}

/// Cargo as in a terminal in `folder`: with its `.cargo/config.toml` and its toolchain.
pub(super) fn cargo(folder: &Path) -> Command {
    tool("cargo", folder)
}

/// A tool of the toolchain that is chosen in `folder`.
pub(super) fn tool(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder);
    // The toolchain that this program is run by (`cargo run`) is not the package's.
    let chooses = |folder: &Path| {
        ["rust-toolchain.toml", "rust-toolchain"].iter().any(|name| folder.join(name).is_file())
    };
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    if env::var_os("CARGO").is_some() && folder.ancestors().any(chooses) {
        command.env_remove("RUSTUP_TOOLCHAIN");
    }
    command
}

/// Whether a manifest is of a workspace and of no package.
pub(super) fn is_virtual(manifest: &Path) -> bool {
    let table = fs::read_to_string(manifest).ok().and_then(|text| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| table.contains_key("workspace") && !table.contains_key("package"))
}

/// Whether a file is a component by its name.
pub(super) fn is_component(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: BuildFor, folder: &Path) -> Vec<String> {
        let all = of.environment(folder).into_iter();
        all.map(|(name, value)| format!("{}={value}", &name["CARGO_PROFILE_RELEASE_".len()..]))
            .collect()
    }

    #[test]
    fn what_the_author_has_chosen_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let member = root.path().join("crates/room");
        fs::create_dir_all(member.join("src")).unwrap();
        fs::write(member.join("src/lib.rs"), "").unwrap();
        fs::write(member.join("Cargo.toml"), "[package]\nname = \"room\"\nversion = \"0.1.0\"")
            .unwrap();
        let workspace = |more: &str| {
            let text = format!("[workspace]\nmembers = [\"crates/*\"]\n{more}");
            fs::write(root.path().join("Cargo.toml"), text).unwrap();
        };
        workspace("");
        let all = ["CODEGEN_UNITS=1", "DEBUG=false", "LTO=true", "STRIP=debuginfo"];
        assert_eq!(names(BuildFor::Serving, &member), all);
        workspace("[profile.release]\nlto = \"thin\"\ncodegen-units = 4");
        assert_eq!(names(BuildFor::Serving, &member), ["DEBUG=false", "STRIP=debuginfo"]);
        fs::create_dir(root.path().join(".cargo")).unwrap();
        fs::write(root.path().join(".cargo/config.toml"), "[profile.release]\nstrip = false")
            .unwrap();
        assert_eq!(names(BuildFor::Serving, &member), ["DEBUG=false"]);
        assert_eq!(names(BuildFor::Trying, &member), ["INCREMENTAL=true", "LTO=false"]);
        assert!(is_virtual(&root.path().join("Cargo.toml")));
        assert!(!is_virtual(&member.join("Cargo.toml")));
    }
}
