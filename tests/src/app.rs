//! Apps for the server to serve.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::binary::{binary, workspace};

/// What `millrace serve` takes: a folder with a `millrace.toml`, everything in it
/// built, or a single plugin.
#[derive(Debug)]
pub struct App {
    path: PathBuf,
    /// Environment variables of its servers.
    environment: Vec<(String, String)>,
    /// Removes the folder with the last server that uses it.
    _temporary: Option<TempDir>,
}

impl App {
    /// `tests/apps/probe`: a channel on `room:*` that does what a client tells it
    /// to.
    #[must_use]
    pub fn probe() -> Self {
        Self::of_workspace("tests/apps/probe")
    }

    /// The probe with other settings: `config` goes in front of the probe's own
    /// part of `millrace.toml`.
    ///
    /// # Panics
    /// If the folder cannot be written.
    #[must_use]
    pub fn probe_with(config: &str) -> Self {
        let plugin = Self::probe_plugin().path;
        let toml = format!("{config}\n[plugins.probe]\ncomponent = {plugin:?}\n");
        Self::written(&toml)
    }

    /// `tests/apps/slow`: every way to be slow on `slow:*`, with other settings.
    #[must_use]
    pub fn slow_with(config: &str) -> Self {
        let plugin = Self::of_workspace("tests/apps/slow").path.join(".millrace/slow.wasm");
        Self::written(&format!("{config}\n[plugins.slow]\ncomponent = {plugin:?}\n"))
    }

    /// The plugin of the same alone, with every setting at its default.
    #[must_use]
    pub fn slow_plugin() -> Self {
        let path = Self::of_workspace("tests/apps/slow").path.join(".millrace/slow.wasm");
        Self { path, environment: Vec::new(), _temporary: None }
    }

    /// The same beside the probe, whose clients are on `room:*`: its `connect` gives their
    /// connections assigns that the probe cannot read.
    #[must_use]
    pub fn slow_and_probe() -> Self {
        let apps = [("tests/apps/slow", "slow"), ("tests/apps/probe", "probe")];
        let plugins = apps.map(|(app, name)| Self::of_workspace(app).plugin(name, ""));
        Self::written(&plugins.concat())
    }

    /// `tests/apps/hostile`: does what it can to hurt others on `hostile:*`, with
    /// other settings in front and more settings of its plugin behind.
    #[must_use]
    pub fn hostile_with(config: &str, more: &str) -> Self {
        let hostile = Self::of_workspace("tests/apps/hostile").plugin("hostile", more);
        Self::written(&format!("{config}\n{hostile}"))
    }

    /// The same beside the probe, whose clients are on `room:*`.
    #[must_use]
    pub fn hostile_and_probe_with(config: &str, more: &str) -> Self {
        let hostile = Self::of_workspace("tests/apps/hostile").plugin("hostile", more);
        let probe = Self::probe().plugin("probe", "");
        Self::written(&format!("{config}\n{probe}{hostile}"))
    }

    /// `tests/apps/fetch`: sends requests as it is told on `fetch:*`, within
    /// `[plugins.fetch.http]`.
    #[must_use]
    pub fn fetch_with(http: &str) -> Self {
        let plugin = Self::of_workspace("tests/apps/fetch").path.join(".millrace/fetch.wasm");
        let head = format!("[plugins.fetch]\ncomponent = {plugin:?}\n");
        Self::written(&format!("{head}[plugins.fetch.http]\n{http}\n"))
    }

    /// `tests/apps/jobs`: a pipeline of jobs that come over HTTP.
    #[must_use]
    pub fn jobs() -> Self {
        Self::of_workspace("tests/apps/jobs")
    }

    /// The same plugins with other pipelines: `config` goes behind their part of
    /// `millrace.toml`.
    #[must_use]
    pub fn jobs_with(config: &str) -> Self {
        let app = Self::jobs();
        let plugins = ["jobs", "fair", "isolate", "priority"].map(|name| app.plugin(name, ""));
        Self::written(&format!("{}[admin]\nlisten = \"127.0.0.1:0\"\n{config}", plugins.concat()))
    }

    /// `tests/apps/relay`: what flows between channels on `relay:*` and pipelines,
    /// which `config` has, besides the plugins of the jobs.
    #[must_use]
    pub fn relay_with(config: &str) -> Self {
        let relay = Self::of_workspace("tests/apps/relay").plugin("relay", "");
        Self::jobs_with(&format!("{relay}{config}"))
    }

    /// `tests/apps/unfair`: its dispatcher `unfair` breaks its contract in the way
    /// that `wrong` names, after so many calls; `config` has the pipelines.
    #[must_use]
    pub fn unfair_with(wrong: &str, after: u32, config: &str) -> Self {
        let plugin_config = format!("config = {{ wrong = {wrong:?}, after = {after} }}\n");
        let unfair = Self::of_workspace("tests/apps/unfair").plugin("unfair", &plugin_config);
        Self::jobs_with(&format!("{unfair}{config}"))
    }

    /// Its servers get an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The environment variables of its servers.
    pub(crate) fn environment_variables(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The probe's plugin alone, with every setting at its default.
    #[must_use]
    pub fn probe_plugin() -> Self {
        let path = Self::probe().path.join(".millrace/probe.wasm");
        Self { path, environment: Vec::new(), _temporary: None }
    }

    /// The plugin of `examples/ping` alone: it is on `room:*`, too, and answers
    /// `ping` with `{"ping":"pong"}`.
    #[must_use]
    pub fn ping_plugin() -> Self {
        let path = Self::of_workspace("examples/ping").path.join(".millrace/ping.wasm");
        Self { path, environment: Vec::new(), _temporary: None }
    }

    /// The next version of the probe as a single plugin: `tests/apps/probe-v2`.
    #[must_use]
    pub fn probe_v2_plugin() -> Self {
        let path = Self::of_workspace("tests/apps/probe-v2").path.join(".millrace/probe.wasm");
        Self { path, environment: Vec::new(), _temporary: None }
    }

    /// A version of it that panics on one message in five: `tests/apps/probe-bad`.
    #[must_use]
    pub fn probe_bad_plugin() -> Self {
        let path = Self::of_workspace("tests/apps/probe-bad").path.join(".millrace/probe.wasm");
        Self { path, environment: Vec::new(), _temporary: None }
    }

    /// `examples/chat`: the chat with its page.
    #[must_use]
    pub fn chat() -> Self {
        Self::of_workspace("examples/chat")
    }

    /// `examples/notifications`: a pipeline with its page.
    #[must_use]
    pub fn notifications() -> Self {
        Self::of_workspace("examples/notifications")
    }

    /// A plugin that traps as soon as it is instantiated.
    #[must_use]
    pub fn faulty() -> Self {
        Self::of_workspace("tests/apps/faulty")
    }

    /// A folder with nothing but this `millrace.toml`.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn written(millrace_toml: &str) -> Self {
        let temporary = TempDir::with_prefix("millrace-app-").expect("a temporary folder");
        let path = temporary.path().to_owned();
        std::fs::write(path.join("millrace.toml"), millrace_toml).expect("millrace.toml");
        Self { path, environment: Vec::new(), _temporary: Some(temporary) }
    }

    /// What is in this folder, which stays when the server has ended.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { path: folder.to_owned(), environment: Vec::new(), _temporary: None }
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
        Self { path: path.to_owned(), environment: Vec::new(), _temporary: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A plugin of this app, for another app's `millrace.toml`.
    fn plugin(&self, name: &str, config: &str) -> String {
        let component = self.path.join(format!(".millrace/{name}.wasm"));
        format!("[plugins.{name}]\ncomponent = {component:?}\n{config}")
    }

    fn of_workspace(path: &str) -> Self {
        let path = workspace().join(path);
        build_once(&path);
        Self { path, environment: Vec::new(), _temporary: None }
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
