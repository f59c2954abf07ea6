//! An app: a folder with `millrace.toml`, or a single `.wasm` file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millrace_wasm::PluginLimits;
use serde::Deserialize;

use super::app_plugin::{AppPlugin, app_plugin};
use super::check::check;
use super::environment::Environment;
use super::file::ConfigFile;
use super::{
    AdminConfig, AuthConfig, CacheConfig, CompileConfig, DashboardConfig, DrainConfig,
    ListenAddress, ListenConfig, MemoryConfig, MetricsConfig, PipelineConfig, PresenceConfig,
    ServerConfig, SocketConfig, StaticFiles, StatsdConfig, SwapConfig, TlsConfig,
};
use super::{listen, wording};
use crate::plugin::Source;

/// The configuration of an app: everything that is known before a server starts.
#[derive(Clone, Debug)]
pub struct App {
    /// The folder that relative paths begin in.
    pub folder: PathBuf,
    /// The listeners for clients.
    pub listen: Vec<ListenConfig>,
    /// `[server]`: how clients reach the server.
    pub server: ServerConfig,
    /// `[tls]`: the certificate of listeners that speak TLS.
    pub tls: Option<TlsConfig>,
    /// `[cache]`: the compiled code on disk.
    pub cache: CacheConfig,
    /// `[socket]`: the limits of one connection and its channels.
    pub socket: SocketConfig,
    /// `[limits]`: the limits of plugins that have none of their own.
    pub limits: PluginLimits,
    /// The plugins, in the order of their names.
    pub plugins: Vec<AppPlugin>,
    /// `[static]`: the app's page.
    pub static_files: StaticFiles,
    /// `[statsd]`: the receiver of measurements.
    pub statsd: Option<StatsdConfig>,
    /// `[metrics]`: the events that are measured separately.
    pub metrics: MetricsConfig,
    /// `[dashboard]`: the page for operators.
    pub dashboard: DashboardConfig,
    /// `[drain]`: how the server stops.
    pub drain: DrainConfig,
    /// `[presence]`: the limits of presences, and what clients are told of them.
    pub presence: PresenceConfig,
    /// `[memory]`: the memory that the server may use.
    pub memory: MemoryConfig,
    /// `[swap]`: how versions of plugins are exchanged.
    pub swap: SwapConfig,
    /// `[compile]`: the limits of compiling a plugin.
    pub compile: CompileConfig,
    /// `[pipelines]`: the pipelines by their names.
    pub pipelines: BTreeMap<String, PipelineConfig>,
    /// `[admin]`: the admin interface, if there is one.
    pub admin: Option<AdminConfig>,
    /// `[auth]`: the tokens of clients, if they need any.
    pub auth: Option<AuthConfig>,
    /// Whether the app is being developed (`millrace dev`).
    pub is_dev: bool,
}

/// The error of reading an app.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The path does not exist, or cannot be read.
    #[error(
        "failed to read {path}: {cause}; an app's folder, its millrace.toml or a .wasm file is \
         expected"
    )]
    Read {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// The folder has neither a configuration nor a plugin's package.
    #[error("{0} is no app; a millrace.toml, or a plugin's Cargo.toml, is expected in it")]
    NoApp(PathBuf),
    /// The configuration is not valid.
    #[error("{path}: {problem}")]
    Invalid {
        /// The path of the file.
        path: PathBuf,
        /// What was found, and what is allowed.
        problem: String,
    },
}

/// The name of the configuration file in an app's folder.
pub(crate) const CONFIG_FILE: &str = "millrace.toml";

impl App {
    /// Reads the app at `path`: a folder, a `millrace.toml`, or a `.wasm` file. The latter becomes
    /// a plugin with the file's name and every setting at its default.
    ///
    /// # Errors
    ///
    /// There is no app, it cannot be read, or its configuration is not valid.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, &Environment::default())
    }

    /// As [`Self::load`], with the keys that the environment sets.
    pub(crate) fn load_with(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let metadata = fs::metadata(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        if metadata.is_dir() {
            let file = path.join(CONFIG_FILE);
            return match file.is_file() {
                true => Self::read(&file, environment),
                false => Self::package(path, environment),
            };
        }
        if path.extension().is_some_and(|extension| extension == "toml") {
            return Self::read(path, environment);
        }
        let source = Source::File(path.to_owned());
        Self::of_plugin(path, folder_of(path), AppPlugin::plain(name_of(path), source), environment)
    }

    /// An app from a folder that is only a plugin's package.
    fn package(folder: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        if !folder.join("Cargo.toml").is_file() {
            return Err(ConfigError::NoApp(folder.to_owned()));
        }
        let name = name_of(&fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()));
        let source = Source::package(folder, &name, folder);
        Self::of_plugin(folder, folder.to_owned(), AppPlugin::plain(name, source), environment)
    }

    /// An app of one plugin, with only those settings that the environment sets.
    fn of_plugin(
        path: &Path,
        folder: PathBuf,
        plugin: AppPlugin,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let invalid = |problem| ConfigError::Invalid { path: path.to_owned(), problem };
        let mut app = Self::parse_with(folder, "", environment).map_err(invalid)?;
        app.plugins.push(AppPlugin { limits: app.limits, ..plugin });
        app.resolve_secrets().map_err(invalid)?;
        Ok(app)
    }

    fn read(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let invalid = |problem| ConfigError::Invalid { path: path.to_owned(), problem };
        let text = fs::read_to_string(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        let mut app = Self::parse_with(folder_of(path), &text, environment).map_err(invalid)?;
        app.resolve_secrets().map_err(invalid)?;
        app.static_files.hidden.push(path.to_owned());
        app.static_files.check(&app.folder).map_err(invalid)?;
        Ok(app)
    }

    /// Reads the text of a `millrace.toml`. Secrets that are elsewhere are not read. The error says
    /// what was found and what is allowed.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn parse(folder: PathBuf, text: &str) -> Result<Self, String> {
        Self::parse_with(folder, text, &Environment::default())
    }

    /// As [`Self::parse`], with the keys that the environment sets.
    pub(super) fn parse_with(
        folder: PathBuf,
        text: &str,
        environment: &Environment,
    ) -> Result<Self, String> {
        // The text is read for its own mistakes first, whose texts have the line.
        let explain = |error: toml::de::Error| wording::explain(text, &error);
        let _: ConfigFile = toml::from_str(text).map_err(explain)?;
        let mut table: toml::Table = toml::from_str(text).map_err(explain)?;
        environment.apply(&mut table)?;
        let mut file = ConfigFile::deserialize(table.clone())
            .map_err(|error| wording::explain_below("", &error))?;
        check(&file)?;
        let (has_tls, has_proxies) = (file.tls.is_some(), !file.server.trusted_proxies.is_empty());
        for listener in &mut file.listen.0 {
            listener.resolve(&folder, has_tls, has_proxies)?;
        }
        listen::check_once(&file.listen.0, file.admin.as_ref())?;
        // The limits as they are given, so that plugins can differ from them.
        let limits = match table.remove("limits") {
            Some(toml::Value::Table(limits)) => limits,
            _ => toml::Table::new(),
        };
        let keys = file.trust.keys.clone();
        let plugins = file.plugins.iter();
        let plugins =
            plugins.map(|(name, plugin)| app_plugin(&folder, name, plugin, &limits, &keys));
        let plugins = plugins.collect::<Result<_, _>>()?;
        Ok(Self::new(folder, file, plugins))
    }

    /// Listens at these addresses instead of those of `listen`; each has the settings of a plain
    /// entry.
    pub(crate) fn listen_at(&mut self, addresses: &[ListenAddress]) {
        let has_tls = self.tls.is_some();
        let listen = addresses.iter().cloned().map(|address| ListenConfig::plain(address, has_tls));
        self.listen = listen.collect();
    }

    fn new(folder: PathBuf, file: ConfigFile, plugins: Vec<AppPlugin>) -> Self {
        let at = |path: &PathBuf| folder.join(path);
        let components = plugins.iter().map(|plugin| plugin.source.component().to_owned());
        let static_files = StaticFiles {
            dir: file.static_files.dir.as_ref().map(at),
            files: file.static_files.files.iter().map(|(url, p)| (url.clone(), at(p))).collect(),
            headers: file.static_files.headers,
            hidden: components.collect(),
        };
        let mut socket = file.socket;
        socket.longpoll = file.longpoll;
        // An invalid URL was refused when the file was read.
        socket.hosts.extend(file.server.public_host().ok().flatten());
        Self {
            listen: file.listen.0,
            server: file.server,
            tls: file.tls.map(|tls| TlsConfig {
                certificate: folder.join(&tls.certificate),
                key: folder.join(&tls.key),
                ..tls
            }),
            cache: CacheConfig { dir: file.cache.dir.map(|dir| folder.join(dir)), ..file.cache },
            limits: file.limits,
            socket,
            plugins,
            static_files,
            statsd: file.statsd,
            metrics: file.metrics,
            dashboard: file.dashboard,
            drain: file.drain,
            presence: file.presence,
            memory: file.memory,
            swap: SwapConfig { dir: file.swap.dir.map(|dir| folder.join(dir)), ..file.swap },
            compile: file.compile,
            pipelines: file.pipelines,
            admin: file.admin,
            auth: file.auth,
            is_dev: false,
            folder,
        }
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(|| "plugin".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pipeline::unloaded;
    use millrace_pipeline::{StageSpec, WorkerSpec};

    /// Reads a configuration; the only place in these tests that does.
    fn load(text: &str) -> Result<App, String> {
        App::parse(PathBuf::from("/app"), text)
    }

    #[test]
    fn an_empty_file_is_every_default() {
        let app = load("").unwrap();
        assert_eq!(app.listen[0].address.to_string(), "127.0.0.1:4000");
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
        assert_eq!(a.config["n"].get().as_str(), "3");
        assert_eq!(a.config["s"].get().as_str(), "x");
        assert_eq!(b.source.component(), Path::new("/app/b.wasm"));
    }

    #[test]
    fn a_plugin_differs_from_the_limits_in_parts() {
        let text = "[limits]\nfuel = 7\nmax_tasks = 8\n[plugins.a]\npath = \"p\"\n\
                    limits = { max_tasks = 9, on_faults = \"closed\" }";
        let limits = load(text).unwrap().plugins[0].limits;
        assert_eq!((limits.fuel, limits.max_tasks), (7, 9));
        assert_eq!(limits.on_faults, millrace_wasm::OnFaults::Closed);
        assert_eq!(limits.max_effects, PluginLimits::default().max_effects);
    }

    /// A pipeline with a worker and one more line.
    fn piped(line: &str) -> String {
        format!("[plugins.w]\npath = \"w\"\n[pipelines.p]\nworker.plugin = \"w\"\n{line}")
    }

    #[test]
    fn a_pipeline_has_defaults_for_all_but_its_worker() {
        let app = load(&piped("")).unwrap();
        let spec = app.pipelines["p"].spec("p", &|_| Some(unloaded())).unwrap();
        let [StageSpec { workers, .. }] = spec.stages.as_slice() else { panic!("{spec:?}") };
        let WorkerSpec { demand, batch_size, concurrency, .. } = &workers[0];
        assert_eq!((demand.max(), demand.max_batch()), (10, 5));
        assert_eq!((*batch_size, *concurrency, spec.buffer.size), (1, 10, 10_000));
    }

    #[test]
    fn a_grant_is_of_something_that_there_may_be() {
        for (grants, problem) in [
            ("enqueue = [\"jbos\"]", "enqueue has \"jbos\"; there is no [pipelines.jbos]"),
            ("publish = [\"\"]", "publish: "),
        ] {
            let text = format!("[plugins.a]\npath = \"p\"\ngrants = {{ {grants} }}");
            let error = load(&text).unwrap_err();
            assert!(error.contains(&format!("plugins.a.grants.{problem}")), "{error}");
        }
    }

    #[test]
    fn no_token_is_empty() {
        for (text, key) in [
            ("[admin]\ntoken = \"\"", "admin.token"),
            ("[dashboard]\ntoken = \"\"", "dashboard.token"),
            (&piped("http = { token = \"\" }"), "pipelines.p.http.token"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(&format!("{key} is empty; leave it out")), "{error}");
        }
    }

    #[test]
    fn mistakes_name_the_key_what_was_found_and_what_is_allowed() {
        for (text, problem) in [
            ("[socket]\npath = \"socket\"", "socket.path is \"socket\""),
            ("[socket]\nidle_timeout_ms = 0", "socket.idle_timeout_ms is 0"),
            ("[socket]\ncheck_origin = [\"a.com\"]", "origin \"a.com\" is none of"),
            ("[socket]\nhosts = [\"a.com:80\"]", "\"a.com:80\" is no host"),
            ("[socket]\nsubprotocols = [\"a b\"]", "socket.subprotocols has \"a b\""),
            ("[socket]\nkeep_alive_timeout_ms = 0", "socket.keep_alive_timeout_ms is 0"),
            ("[plugins.a]", "plugins.a needs `path`"),
            ("[plugins.\"a b\"]\npath = \"x\"", "plugins has the name \"a b\""),
            ("[static.files]\n\"x\" = \"y\"", "a URL path begins with `/`"),
            (
                "[[socket.outbox_policies]]\ntopics = \"a*b\"\npolicy = \"close\"",
                "socket.outbox_policies: topics: ",
            ),
            ("[admin]\nmax_connections = 0", "admin.max_connections is 0"),
            ("[admin]\nallow_origin = [\"a.com\"]", "origin \"a.com\" is none of"),
            ("[pipelines.p]", "pipelines.p needs a worker"),
            (
                "[pipelines.p]\nworker = { plugin = \"x\" }",
                "pipelines.p.worker.plugin is \"x\"; there is no [plugins.x]",
            ),
            (&piped("dispatcher = \"fare\""), "pipelines.p.dispatcher is \"fare\"; \"demand\""),
            (&piped("dispatcher = \"fare\""), "is expected; there is no [plugins.fare]"),
            (&piped("partition_by = \"user\""), "\"user\" is no JSON pointer"),
            (&piped("rate_per_second = 0"), "pipelines.p.rate_per_second is 0"),
            (&piped("worker.max_demand = 0"), "pipelines.p.worker: max_demand is 0"),
            (&piped("worker.min_demand = 10"), "min_demand is 10, and max_demand 10"),
            (&piped("worker.batch_size = 6"), "max_demand - min_demand = 5 events"),
            (&piped("worker.select = { \"/a\" = [\"b\"] }"), "needs `dispatcher = \"broadcast\"`"),
            (&piped("buffer = { keep = \"all\" }"), "allowed are `first` or `last`"),
            (&piped("buffer = { keep = \"last\", on_full = \"wait\" }"), "has both `keep` and"),
            (&piped("retry = { max_attempts = 0 }"), "pipelines.p.retry.max_attempts is 0"),
            (&piped("timer = { payload = 1 }"), "pipelines.p.timer.every_ms is missing"),
            ("[statsd]\ndialect = \"x\"", "allowed are `etsy` or `dogstatsd`"),
            ("[statsd]\ndatagram_bytes = 1", "statsd.datagram_bytes is 1; 128 to 65507"),
            ("[statsd]\ninterval_ms = 0", "statsd.interval_ms is 0"),
            ("[limits]\nmax_concurrency = 0", "limits.max_concurrency is 0; at least 1"),
            (
                "[plugins.a]\npath = \"p\"\nhttp = { hosts = [\"http://a.com\"] }",
                "\"http://a.com\" is no host; one such as",
            ),
            (
                "[plugins.a]\npath = \"p\"\nhttp = { addresses = [\"10/8\"] }",
                "\"10/8\" is no address; one such as",
            ),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
