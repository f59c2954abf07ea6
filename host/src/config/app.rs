//! An app: a folder with `millrace.toml`, or a single `.wasm` file.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::file::{ConfigFile, PluginConfig};
use super::{SocketConfig, StatsdConfig};
use crate::plugin::Source;
use crate::wasm::PluginLimits;

/// Everything there is to know before a server starts.
#[derive(Clone, Debug)]
pub struct App {
    /// Where paths begin.
    pub folder: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// One connection and its channels.
    pub socket: SocketConfig,
    /// One plugin and its calls.
    pub limits: PluginLimits,
    /// In the order of their names.
    pub plugins: Vec<AppPlugin>,
    /// The page.
    pub static_files: StaticFiles,
    /// Where measurements go.
    pub statsd: Option<StatsdConfig>,
}

/// One plugin of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPlugin {
    /// Its name in logs and metrics.
    pub name: String,
    /// Where its component comes from.
    pub source: Source,
    /// What it gets from `config.get`.
    pub config: BTreeMap<String, String>,
}

/// What is served over plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticFiles {
    /// Served at `/`.
    pub dir: Option<PathBuf>,
    /// Single files by their URL path.
    pub files: BTreeMap<String, PathBuf>,
}

/// Why there is no app at a path.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nothing is there, or it cannot be read.
    #[error("failed to read {path}: {cause}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What was found, and what is allowed.
        problem: String,
    },
}

/// The file's name in an app's folder.
const FILE_NAME: &str = "millrace.toml";

impl App {
    /// Reads the app at `path`: a folder, a `millrace.toml`, or a `.wasm` file,
    /// which becomes a plugin of that name with every setting at its default.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let metadata = fs::metadata(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        if metadata.is_dir() {
            let file = path.join(FILE_NAME);
            return if file.is_file() { Self::read(&file) } else { Self::package(path) };
        }
        if path.extension().is_some_and(|extension| extension == "toml") {
            return Self::read(path);
        }
        let name = name_of(path);
        let source = Source::File(path.to_owned());
        let plugin = AppPlugin { name, source, config: BTreeMap::new() };
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(Self::new(folder, ConfigFile::default(), vec![plugin]))
    }

    /// A folder that is nothing but a plugin's package.
    fn package(folder: &Path) -> Result<Self, ConfigError> {
        if !folder.join("Cargo.toml").is_file() {
            return Err(ConfigError::Invalid {
                path: folder.to_owned(),
                problem: "is no app: a millrace.toml, or a plugin's Cargo.toml, is expected in it"
                    .to_owned(),
            });
        }
        let name = name_of(&fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()));
        let source = Source::package(folder, &name, folder);
        let plugin = AppPlugin { name, source, config: BTreeMap::new() };
        Ok(Self::new(folder.to_owned(), ConfigFile::default(), vec![plugin]))
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let invalid = |problem| ConfigError::Invalid { path: path.to_owned(), problem };
        let text = fs::read_to_string(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        let file: ConfigFile = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        check(&file).map_err(invalid)?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let plugins = file
            .plugins
            .iter()
            .map(|(name, plugin)| app_plugin(&folder, name, plugin))
            .collect::<Result<Vec<_>, _>>()
            .map_err(invalid)?;
        Ok(Self::new(folder, file, plugins))
    }

    fn new(folder: PathBuf, file: ConfigFile, plugins: Vec<AppPlugin>) -> Self {
        let at = |path: &PathBuf| folder.join(path);
        let static_files = StaticFiles {
            dir: file.static_files.dir.as_ref().map(at),
            files: file.static_files.files.iter().map(|(url, p)| (url.clone(), at(p))).collect(),
        };
        Self {
            listen: file.listen,
            socket: file.socket,
            limits: file.limits,
            plugins,
            static_files,
            statsd: file.statsd,
            folder,
        }
    }
}

/// What the types cannot say.
fn check(file: &ConfigFile) -> Result<(), String> {
    let path = &file.socket.path;
    if !path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#', '*', ':']) {
        return Err(format!(
            "socket.path is {path:?}; a path such as \"/socket\" is expected, with no `/` at its end"
        ));
    }
    for (key, value) in [
        ("socket.idle_timeout_ms", file.socket.idle_timeout_ms),
        ("socket.handshake_timeout_ms", file.socket.handshake_timeout_ms),
        ("limits.fuel", file.limits.fuel),
        ("limits.max_instances", u64::from(file.limits.max_instances)),
        ("socket.max_connections", file.socket.max_connections as u64),
        ("socket.max_pending", file.socket.max_pending as u64),
    ] {
        if value == 0 {
            return Err(format!("{key} is 0; at least 1 is allowed"));
        }
    }
    if file.limits.max_instances > 100_000 {
        let found = file.limits.max_instances;
        return Err(format!("limits.max_instances is {found}; at most 100000 are allowed"));
    }
    if file.limits.max_memory_bytes > u32::MAX as usize {
        let found = file.limits.max_memory_bytes;
        return Err(format!(
            "limits.max_memory_bytes is {found}; at most {} are allowed",
            u32::MAX
        ));
    }
    if let Some(url) = file.static_files.files.keys().find(|url| !url.starts_with('/')) {
        return Err(format!("static.files has the key {url:?}; a URL path begins with `/`"));
    }
    Ok(())
}

fn app_plugin(folder: &Path, name: &str, plugin: &PluginConfig) -> Result<AppPlugin, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!(
            "plugins has the name {name:?}; letters, digits, `-` and `_` are allowed"
        ));
    }
    let source = match (&plugin.path, &plugin.component) {
        (Some(path), None) => Source::package(folder, name, &folder.join(path)),
        (None, Some(component)) => Source::File(folder.join(component)),
        (None, None) => {
            return Err(format!("plugins.{name} needs `path` (a package) or `component` (a file)"));
        }
        (Some(_), Some(_)) => {
            return Err(format!("plugins.{name} has both `path` and `component`; one is allowed"));
        }
    };
    let text = |value: &toml::Value| match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let config = plugin.config.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    Ok(AppPlugin { name: name.to_owned(), source, config })
}

fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(|| "plugin".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one place that reads a config in these tests.
    fn load(text: &str) -> Result<App, String> {
        let parsed: Result<ConfigFile, _> = toml::from_str(text);
        let file = parsed.map_err(|error| error.to_string())?;
        check(&file)?;
        let folder = Path::new("/app");
        let plugins = file.plugins.iter().map(|(n, p)| app_plugin(folder, n, p));
        let plugins = plugins.collect::<Result<_, _>>()?;
        Ok(App::new(folder.to_owned(), file, plugins))
    }

    #[test]
    fn an_empty_file_is_every_default() {
        let app = load("").unwrap();
        assert_eq!(app.listen.to_string(), "127.0.0.1:4000");
        assert_eq!(app.socket.max_channels, 100);
        assert!(app.plugins.is_empty());
    }

    #[test]
    fn a_plugin_is_a_package_or_a_file() {
        let app = load(
            "[plugins.a]\npath = \"p\"\nconfig = { s = \"x\", n = 3 }\n[plugins.b]\n\
             component = \"b.wasm\"",
        )
        .unwrap();
        let [a, b] = app.plugins.as_slice() else { panic!("{app:?}") };
        assert_eq!(a.source.component(), Path::new("/app/.millrace/a.wasm"));
        assert_eq!(a.config["n"], "3");
        assert_eq!(a.config["s"], "x");
        assert_eq!(b.source.component(), Path::new("/app/b.wasm"));
    }

    #[test]
    fn mistakes_name_the_key_what_was_found_and_what_is_allowed() {
        for (text, problem) in [
            ("lisen = 1", "unknown field `lisen`, expected one of `listen`"),
            ("[socket]\nmax_channels = \"many\"", "invalid type: string \"many\", expected usize"),
            ("[socket]\npath = \"socket\"", "socket.path is \"socket\""),
            ("[socket]\nidle_timeout_ms = 0", "socket.idle_timeout_ms is 0"),
            ("[socket]\ncheck_origin = [\"a.com\"]", "origin \"a.com\" is none of"),
            ("[socket]\ncheck_origin = 3", "expected true, false or a list"),
            ("[plugins.a]", "plugins.a needs `path`"),
            ("[plugins.\"a b\"]\npath = \"x\"", "plugins has the name \"a b\""),
            ("[static.files]\n\"x\" = \"y\"", "a URL path begins with `/`"),
            ("listen = \"here\"", "invalid socket address"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
