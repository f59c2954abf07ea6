//! Apps for the server to serve, and how it is started for them.
//!
//! ```text
//! App::probe()                         a plugin of this repository
//!     .with("[socket]\nmax_pending = 4")  what the test's millrace.toml has besides
//!     .admin()                         an admin interface on a port that is free
//!     .serve()                         the server
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::binary::{binary, workspace};
use crate::server::Start;
use crate::toml::Toml;
use crate::{BUILD_PATIENCE, Gate, Reader, TestServer};

/// What `millrace serve` takes: a folder with a `millrace.toml`, everything in it
/// built, or a single plugin.
#[derive(Debug)]
pub struct App {
    path: PathBuf,
    /// What is written to `millrace.toml`, unless the folder is somebody else's.
    toml: Option<Toml>,
    start: Start,
    /// Removes the folder with the last server that uses it.
    _temporary: Option<TempDir>,
}

impl App {
    /// A folder with nothing but this `millrace.toml`.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn written(millrace_toml: &str) -> Self {
        let temporary = TempDir::with_prefix("millrace-app-").expect("a temporary folder");
        let app = Self::at(temporary.path());
        let app = Self { toml: Some(Toml::default()), _temporary: Some(temporary), ..app };
        app.with(millrace_toml)
    }

    /// What is in this folder, which stays when the server has ended.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { path: folder.to_owned(), toml: None, start: Start::default(), _temporary: None }
    }

    /// More of `millrace.toml`; a table that is there already gets these lines, too.
    ///
    /// # Panics
    /// If the folder is not the test's own.
    #[must_use]
    pub fn with(mut self, more: &str) -> Self {
        let toml = self.toml.as_mut().expect("a `millrace.toml` that the test writes");
        toml.add(more);
        std::fs::write(self.path.join("millrace.toml"), toml.text()).expect("millrace.toml");
        self
    }

    /// A plugin that an app of this repository builds under the same name.
    #[must_use]
    pub fn plugin(self, name: &str, app: &str) -> Self {
        let component = Self::plugin_of_repository(app, name).path;
        self.with(&format!("[plugins.{name}]\ncomponent = {component:?}"))
    }

    /// An admin interface on a port that is free.
    #[must_use]
    pub fn admin(self) -> Self {
        self.with("[admin]\nlisten = \"127.0.0.1:0\"")
    }

    /// The dashboard, for everybody.
    #[must_use]
    pub fn dashboard(self) -> Self {
        self.with("[dashboard]\nenabled = true")
    }

    /// Measurements for a StatsD server, every 50 ms.
    #[must_use]
    pub fn statsd(self, address: &str) -> Self {
        self.with(&format!("[statsd]\ninterval_ms = 50\naddress = \"{address}\""))
    }

    /// A pipeline with these settings.
    #[must_use]
    pub fn pipeline(self, name: &str, settings: &str) -> Self {
        self.with(&format!("[pipelines.{name}]\n{settings}"))
    }

    /// A plugin may send requests to all ports of this machine.
    #[must_use]
    pub fn reaching_this_machine(self, plugin: &str) -> Self {
        self.with(&format!(
            "[plugins.{plugin}.http]\nhosts = [\"localhost:*\", \"127.0.0.1:*\"]\n\
             addresses = [\"127.0.0.0/8\", \"::1\"]"
        ))
    }

    /// Where a plugin of `tests/apps/gated` would sleep, it waits at this gate.
    #[must_use]
    pub fn gate(self, plugin: &str, gate: &Gate) -> Self {
        let (url, patience) = (gate.url(), BUILD_PATIENCE.as_millis());
        let gate = format!(
            "[plugins.{plugin}]\nconfig = {{ gate = {url:?} }}\n\
             [plugins.{plugin}.http]\ntimeout_ms = {patience}"
        );
        self.reaching_this_machine(plugin).with(&gate)
    }

    /// Its servers get an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.start.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its servers get more arguments on the command line.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.start.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Its servers listen at this address, instead of on a port that is free.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.start.listen = Some(address.to_owned());
        self
    }

    /// Its servers listen where `millrace.toml` and their environment say.
    #[must_use]
    pub fn listen_as_configured(mut self) -> Self {
        self.start.listen = None;
        self
    }

    /// Its servers log for somebody who may not read it.
    #[must_use]
    pub fn log_for(mut self, reader: Reader) -> Self {
        self.start.reader = reader;
        self
    }

    /// `millrace serve`.
    #[must_use]
    pub fn serve(self) -> TestServer {
        TestServer::launch("serve", self)
    }

    /// `millrace dev`: serves it, and reloads it on every change.
    #[must_use]
    pub fn dev(self) -> TestServer {
        TestServer::launch("dev", self)
    }

    /// How its servers are started.
    pub(crate) fn start(&self) -> &Start {
        &self.start
    }

    /// A package with the probe's source, for a test to edit, at a place where
    /// what cargo built of it last time is kept.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn probe_package(path: &Path) -> Self {
        let sdk = workspace().join("plugins/sdk");
        let manifest = format!(
            "[package]\nname = \"copy\"\nedition = \"2024\"\n\n\
             [lib]\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nmillrace-plugin = {{ path = {sdk:?} }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\n\
             serde_json = \"1\"\n\n\
             # Not a part of the workspace around it.\n[workspace]\n"
        );
        std::fs::create_dir_all(path.join("src")).expect("a folder for the source");
        for (file, original) in
            [("src/lib.rs", "tests/apps/probe/src/lib.rs"), ("Cargo.lock", "Cargo.lock")]
        {
            std::fs::copy(workspace().join(original), path.join(file)).expect("a copy");
        }
        std::fs::write(path.join("Cargo.toml"), manifest).expect("the manifest");
        std::fs::write(path.join("millrace.toml"), "[plugins.copy]\npath = \".\"\n")
            .expect("millrace.toml");
        Self::at(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder of this repository as it stands, built.
    #[must_use]
    pub fn of_repository(path: &str) -> Self {
        let path = workspace().join(path);
        build_once(&path);
        Self::at(&path)
    }

    /// A plugin that an app of this repository builds, alone.
    pub(crate) fn plugin_of_repository(app: &str, name: &str) -> Self {
        let app = Self::of_repository(app);
        Self::at(&app.path.join(format!(".millrace/{name}.wasm")))
    }
}

/// Runs `millrace build` for a folder that has not been built in this process.
fn build_once(folder: &Path) {
    static BUILT: Mutex<Option<HashMap<PathBuf, bool>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    let ok = *built.entry(folder.to_owned()).or_insert_with(|| {
        let output = Command::new(binary())
            .arg("build")
            .arg(folder)
            .output()
            .expect("the millrace program can be started");
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    });
    assert!(ok, "`millrace build {}` failed", folder.display());
}
