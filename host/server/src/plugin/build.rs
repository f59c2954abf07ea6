//! Building an app: its plugins with cargo, its page's packages with npm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tracing::info;

use super::Source;
use super::profile::{BuildFor, cargo, is_component, is_virtual, tool};

/// The target plugins are built for.
const TARGET: &str = "wasm32-wasip2";

/// The error of a build that failed. The output of the tools went to stderr.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// A tool could not be started.
    #[error("failed to start `{tool}`: {cause}; {advice}")]
    Start {
        /// The name of the tool.
        tool: &'static str,
        /// The error of the system.
        cause: std::io::Error,
        /// The advice: how to get the tool.
        advice: &'static str,
    },
    /// A tool ended with an error.
    #[error("`{0}` failed; its output is above")]
    Failed(String),
    /// The package makes no component.
    #[error(
        "{0} made no .wasm file; a plugin's Cargo.toml needs `crate-type = [\"cdylib\"]` under \
         `[lib]`"
    )]
    NoComponent(PathBuf),
    /// There is no such folder.
    #[error(
        "plugins.{plugin}.path is {folder}, which is not there; name the folder of the plugin's \
         package"
    )]
    NoFolder {
        /// The folder that is configured.
        folder: PathBuf,
        /// The name of the plugin.
        plugin: String,
    },
    /// The folder has no package.
    #[error("{0} has no Cargo.toml; the folder of a plugin's package is expected")]
    NoPackage(PathBuf),
    /// The folder has a workspace, and no package of its own.
    #[error(
        "{folder} is a workspace and no package; name the plugin's own package, as in \
         `[plugins.{plugin}] path = \"crates/{plugin}\"`"
    )]
    Workspace {
        /// The folder that is configured.
        folder: PathBuf,
        /// The name of the plugin.
        plugin: String,
    },
    /// The component could not be written.
    #[error("failed to write {path}: {cause}")]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// The error of the system.
        cause: std::io::Error,
    },
}

/// Builds the packages of `sources`, then installs the page's packages of `app`. Returns the files
/// in which cargo says what it has read. Blocks until it is done.
///
/// # Errors
///
/// The first problem; nothing is built after it.
pub(crate) fn build<'a>(
    app: &Path,
    sources: impl IntoIterator<Item = &'a Source>,
    built_for: BuildFor,
) -> Result<Vec<PathBuf>, BuildError> {
    let mut dep_infos = Vec::new();
    for source in sources {
        if let Source::Crate { folder, built } = source {
            // Cargo cannot run in a folder that is not there.
            let plugin = || built.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if !folder.exists() {
                return Err(BuildError::NoFolder { folder: folder.clone(), plugin: plugin() });
            }
            if !folder.join("Cargo.toml").is_file() {
                return Err(BuildError::NoPackage(folder.clone()));
            }
            if is_virtual(&folder.join("Cargo.toml")) {
                return Err(BuildError::Workspace { folder: folder.clone(), plugin: plugin() });
            }
            add_target(folder)?;
            let component = build_package(folder, built_for)?;
            put(&component, built)?;
            dep_infos.push(component.with_extension("d"));
        }
    }
    install_packages(app)?;
    Ok(dep_infos)
}

/// Makes sure that the toolchain of a package has the standard library for the target.
fn add_target(folder: &Path) -> Result<(), BuildError> {
    let advice = "install Rust with rustup";
    let sysroot = tool("rustc", folder)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|cause| BuildError::Start { tool: "rustc", cause, advice })?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    if sysroot.join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    info!("the target {TARGET} is missing: running `rustup target add {TARGET}`");
    run(tool("rustup", folder).args(["target", "add", TARGET]), "rustup", advice)
}

/// Runs cargo in `folder` and returns the component it made.
fn build_package(folder: &Path, built_for: BuildFor) -> Result<PathBuf, BuildError> {
    let manifest = folder.join("Cargo.toml");
    info!(folder = %folder.display(), "building the plugin");
    let output = cargo(folder)
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .envs(built_for.environment(folder))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|cause| BuildError::Start {
            tool: "cargo",
            cause,
            advice: "install Rust with rustup",
        })?;
    if !output.status.success() {
        return Err(BuildError::Failed(format!("cargo build in {}", folder.display())));
    }
    let manifest = fs::canonicalize(&manifest).unwrap_or(manifest);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| component_of(line, &manifest))
        .next_back()
        .ok_or_else(|| BuildError::NoComponent(folder.to_owned()))
}

/// The `.wasm` file in one line of cargo's messages, if it is of the package with this manifest.
fn component_of(line: &str, manifest: &Path) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message.get("reason")? != "compiler-artifact"
        || Path::new(message.get("manifest_path")?.as_str()?) != manifest
    {
        return None;
    }
    let files = message.get("filenames")?.as_array()?.iter();
    files.filter_map(|file| file.as_str().map(PathBuf::from)).find(|file| is_component(file))
}

/// Copies a component to where the server looks for it, whole or not at all.
fn put(component: &Path, built: &Path) -> Result<(), BuildError> {
    let partial = built.with_extension(format!("{}.partial", std::process::id()));
    let put = || {
        if let Some(folder) = built.parent() {
            fs::create_dir_all(folder)?;
            fs::write(folder.join(".gitignore"), "*\n")?;
        }
        fs::copy(component, &partial)?;
        fs::rename(&partial, built)
    };
    put().map_err(|cause| BuildError::Write { path: built.to_owned(), cause })
}

/// Installs the packages that a page needs, unless they are installed already.
fn install_packages(app: &Path) -> Result<(), BuildError> {
    let (lock, installed) =
        (app.join("package-lock.json"), app.join("node_modules/.package-lock.json"));
    if !app.join("package.json").is_file() || is_newer(&installed, &lock) {
        return Ok(());
    }
    let command = if lock.is_file() { "ci" } else { "install" };
    info!(folder = %app.display(), "running `npm {command}`");
    // Scripts of packages would run with the rights of whoever serves the app, and pages need none.
    let arguments = [command, "--ignore-scripts", "--no-audit", "--no-fund"];
    run(Command::new("npm").args(arguments).current_dir(app), "npm", "install Node.js 20 or later")
}

/// Whether a file is as new as another or newer; also if the other is not there.
fn is_newer(file: &Path, than: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    match (modified(file), modified(than)) {
        (Some(file), Some(than)) => file >= than,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// Runs a tool with its output on stderr: stdout belongs to the server.
fn run(command: &mut Command, tool: &'static str, advice: &'static str) -> Result<(), BuildError> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|cause| BuildError::Start { tool, cause, advice })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    tracing::error!(details = %said.trim_end(), "`{tool}` says");
    Err(BuildError::Failed(tool.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_not_there_is_told_with_its_key() {
        let app = tempfile::tempdir().unwrap();
        let source = Source::package(app.path(), "probe", &app.path().join("nope"));
        let error = build(app.path(), [&source], BuildFor::Serving).unwrap_err().to_string();
        assert!(
            error.starts_with("plugins.probe.path is ") && error.contains("/nope, which is not")
        );
    }

    #[test]
    fn a_workspace_is_told_where_its_package_may_be() {
        let app = tempfile::tempdir().unwrap();
        fs::write(app.path().join("Cargo.toml"), "[workspace]\nmembers = [\"room\"]\n").unwrap();
        let source = Source::package(app.path(), "room", app.path());
        let error = build(app.path(), [&source], BuildFor::Serving).unwrap_err().to_string();
        assert!(error.contains("`[plugins.room] path = \"crates/room\"`"), "{error}");
    }

    #[test]
    fn the_component_is_found_in_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml",
            "filenames":["/t/a.rlib","/t/a.wasm"]}"#;
        let found = component_of(line, Path::new("/a/Cargo.toml"));
        assert_eq!(found, Some(PathBuf::from("/t/a.wasm")));
        assert_eq!(component_of(line, Path::new("/b/Cargo.toml")), None);
        assert_eq!(component_of("not json", Path::new("/a/Cargo.toml")), None);
    }
}
