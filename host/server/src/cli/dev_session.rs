//! The session of `millrace dev`: an app that is read, built and served again and again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_wasm::sha256;
use tracing::{error, info};

use super::args::DevArgs;
use super::dev_secret::DevSecret;
use super::serve::{announce, raise_file_limit, this_program};
use crate::config::{App, CONFIG_FILE, ConfigError, ListenConfig};
use crate::node::StartError;
use crate::plugin::{BuildError, BuildFor, Trust, Watch, build, inputs};
use crate::server::Server;
use crate::swap::Swapper;

/// An app that is being developed.
pub(super) struct DevSession<'a> {
    args: &'a DevArgs,
    secret: DevSecret,
    watch: Watch,
    /// The app as it is served, or as it will be served next.
    app: Arc<App>,
    /// The app as it was served before, until it is known that the next one can be served.
    before: Option<Arc<App>>,
    /// The files in which cargo lists the sources of each build.
    dep_infos: Vec<PathBuf>,
    /// The components that are served, by their SHA-256.
    served: Vec<Option<String>>,
    listening: Option<ListenAddresses>,
}

/// The listeners for clients, and the address for operators.
type Addresses = (Vec<ListenConfig>, Option<SocketAddr>);

/// The addresses of the last server.
struct ListenAddresses {
    configured: Addresses,
    bound: Addresses,
}

impl<'a> DevSession<'a> {
    /// Waits for the first app that can be read and built.
    ///
    /// # Errors
    ///
    /// There is no app at the path, or no tool to build it with.
    pub(super) async fn new(args: &'a DevArgs) -> anyhow::Result<Self> {
        let mut watch = Watch::new(args.poll_ms.map(Duration::from_millis));
        let secret = DevSecret::new()?;
        let app = Arc::new(wait_until_readable(args, &secret, &mut watch).await?);
        let (before, dep_infos, served, listening) = Default::default();
        let mut session = Self { args, secret, watch, app, before, dep_infos, served, listening };
        session.wait_until_buildable().await?;
        Ok(session)
    }

    /// Waits until the app can be built.
    async fn wait_until_buildable(&mut self) -> anyhow::Result<()> {
        loop {
            match self.build().await {
                Ok(()) => return Ok(()),
                Err(error @ BuildError::Start { .. }) => return Err(error.into()),
                Err(error) => error!("{error}"),
            }
            wait(&mut self.watch).await;
            let next = wait_until_readable(self.args, &self.secret, &mut self.watch).await?;
            self.app = Arc::new(next);
        }
    }

    /// Starts a server for the app, or for the app before it if this one cannot be served; waits
    /// until that is possible.
    ///
    /// # Errors
    ///
    /// The app is not the cause, so no change of it would help: an address is taken, for example.
    pub(super) async fn start(&mut self) -> anyhow::Result<Server> {
        loop {
            let app = self.at_same_addresses();
            let error = match Server::bind(&app).await {
                Ok(server) => {
                    self.started(&server, &app);
                    return Ok(server);
                }
                Err(error) => error,
            };
            if let Some(before) = self.before.take() {
                error!(details = %error, "not applied; it goes on as it was before");
                self.app = before;
            } else if is_caused_by_app(&error) {
                error!(details = %error, "not served");
                wait(&mut self.watch).await;
                let next = wait_until_readable(self.args, &self.secret, &mut self.watch).await?;
                self.app = Arc::new(next);
                self.wait_until_buildable().await?;
            } else {
                return Err(error.into());
            }
        }
    }

    /// The app with the addresses of the last server, also those whose port the system has chosen,
    /// so that clients and operators find it again.
    fn at_same_addresses(&self) -> App {
        let mut app = App::clone(&self.app);
        raise_file_limit(&mut app.socket);
        let configured = configured(&app);
        if let Some(ListenAddresses { configured: before, bound }) = &self.listening {
            if before.0 == configured.0 {
                app.listen.clone_from(&bound.0);
            }
            if let (Some(admin), Some(address)) = (&mut app.admin, bound.1)
                && before.1 == configured.1
            {
                admin.listen = address;
            }
        }
        app
    }

    fn started(&mut self, server: &Server, app: &App) {
        self.served = components(app);
        self.before = None;
        let bound = (server.listening().to_vec(), server.admin_address());
        match self.listening.as_ref().is_some_and(|before| before.bound == bound) {
            true => info!("serving it as it is now; clients come back"),
            false => announce(server, app),
        }
        self.secret.tell(app);
        self.listening = Some(ListenAddresses { configured: configured(&self.app), bound });
    }

    /// Serves each change of the sources. Ends when the configuration has changed, and another
    /// server must be started with it.
    pub(super) async fn follow_changes(&mut self, swapper: &Swapper) {
        loop {
            let changed = self.watch.changed().await;
            info!(changed = %names(&changed), "sources have changed");
            let current = Arc::clone(&self.app);
            match read(self.args, &self.secret) {
                Ok(app) if format!("{app:?}") != format!("{current:?}") => {
                    info!("the configuration has changed: the server starts anew with it");
                    self.app = Arc::new(app);
                }
                Ok(_) => {}
                Err(error) => {
                    error!(details = %error, "not applied; it goes on as it was before");
                    continue;
                }
            }
            if let Err(error) = self.build().await {
                error!(details = %error, "not built; the version before goes on");
                self.app = current;
                continue;
            }
            if !Arc::ptr_eq(&current, &self.app) {
                self.before = Some(current);
                return;
            }
            self.reload(swapper).await;
        }
    }

    /// Makes the components that were built the live versions. If one fails, the version before it
    /// goes on.
    async fn reload(&mut self, swapper: &Swapper) {
        let built = components(&self.app);
        let plugins = self.app.plugins.iter().zip(built).zip(&mut self.served);
        for ((plugin, built), served) in plugins {
            if built.is_some() && built == *served {
                info!(plugin = plugin.name, "the same as before");
                continue;
            }
            match swapper.swap(plugin).await {
                Ok(()) => {
                    *served = built;
                    info!(plugin = plugin.name, "reloaded");
                }
                Err(error) => {
                    error!(details = %error, "not reloaded; the version before it goes on");
                }
            }
        }
    }

    /// Builds the app, and watches the files that the build has read.
    async fn build(&mut self) -> Result<(), BuildError> {
        self.watch.go_on(self.inputs());
        let app = Arc::clone(&self.app);
        let built = tokio::task::spawn_blocking(move || {
            build(&app.folder, app.plugins.iter().map(|plugin| &plugin.source), BuildFor::Trying)
        });
        match built.await {
            Ok(built) => self.dep_infos = built?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        self.watch.go_on(self.inputs());
        Ok(())
    }

    /// The files that the app is made of.
    fn inputs(&self) -> BTreeSet<PathBuf> {
        let sources = self.app.plugins.iter().map(|plugin| &plugin.source);
        let mut all = inputs(&self.app.folder, sources, &self.dep_infos);
        all.insert(configuration(&self.args.serve.app));
        all
    }
}

/// Waits until there is an app that can be read. An error if there is nothing at the path.
async fn wait_until_readable(
    args: &DevArgs,
    secret: &DevSecret,
    watch: &mut Watch,
) -> anyhow::Result<App> {
    loop {
        // Watched before it is read, so that no change after that is missed.
        watch.also(configuration(&args.serve.app));
        match read(args, secret) {
            Ok(app) => return Ok(app),
            Err(ConfigError::Invalid { path, problem }) if path.is_file() => {
                error!(details = %problem, "{} cannot be read", path.display());
            }
            Err(error) => return Err(error.into()),
        }
        wait(watch).await;
    }
}

async fn wait(watch: &mut Watch) {
    info!("waiting for a change");
    let changed = watch.changed().await;
    info!(changed = %names(&changed), "sources have changed");
}

/// Reads the app, with the settings of `millrace dev`.
fn read(args: &DevArgs, secret: &DevSecret) -> Result<App, ConfigError> {
    let mut app = args.serve.load_for_dev()?;
    secret.accept_in(&mut app);
    app.dashboard.enabled = true;
    app.is_dev = true;
    app.swap.is_forgotten = true;
    app.compile.program = this_program();
    // The page should come back as soon as another server is there, and not be spread over time.
    app.drain.over_ms = 0;
    for plugin in &mut app.plugins {
        plugin.trust = Trust::default();
        // With an instance for each call, a plugin that keeps something in its memory fails here,
        // as it might on a busy server.
        plugin.limits.fresh_instances = true;
    }
    Ok(app)
}

/// The file with the app's configuration, which may not exist.
fn configuration(app: &Path) -> PathBuf {
    if app.is_dir() { app.join(CONFIG_FILE) } else { app.to_owned() }
}

fn configured(app: &App) -> Addresses {
    (app.listen.clone(), app.admin.as_ref().map(|admin| admin.listen))
}

/// Whether the app is the cause, so that a changed one may be served.
fn is_caused_by_app(error: &StartError) -> bool {
    match error {
        StartError::Engine(_)
        | StartError::Random(_)
        | StartError::Listen { .. }
        | StartError::Inherited { .. }
        | StartError::Thread(_)
        | StartError::AdminToken(_)
        | StartError::ListenAdmin { .. }
        | StartError::Statsd { .. } => false,
        StartError::NoPlugins
        | StartError::Read { .. }
        | StartError::Load { .. }
        | StartError::Trust { .. }
        | StartError::Stored { .. }
        | StartError::Swap { .. }
        | StartError::Registry(_)
        | StartError::Auth(_)
        | StartError::Static(_)
        | StartError::Tls(_)
        | StartError::Pipeline { .. } => true,
    }
}

fn components(app: &App) -> Vec<Option<String>> {
    let hash = |path: &Path| Some(sha256(&std::fs::read(path).ok()?).to_string());
    app.plugins.iter().map(|plugin| hash(plugin.source.component())).collect()
}

/// The names of the first few files, for the log.
fn names(paths: &[PathBuf]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    match paths.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}
