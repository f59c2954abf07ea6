//! `millrace serve`: an app as it was built.

use std::path::PathBuf;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::say;
use crate::Server;
use crate::config::{App, ListenConfig, SocketConfig};
use crate::net::Inherited;
use crate::plugin::{BuildFor, Source, build};
use crate::server::Rereading;

/// Serves until the process is told to stop.
pub(super) async fn run(mut app: App, inherited: Inherited) -> anyhow::Result<()> {
    app.compile.program = this_program();
    // Before the address is printed: whoever reads it may stop the server at once.
    let mut signals = Signals::new(AtHangup::GoOn)?;
    raise_file_limit(&mut app.socket);
    let unbuilt: Vec<&Source> = app
        .plugins
        .iter()
        .map(|plugin| &plugin.source)
        .filter(|source| matches!(source, Source::Crate { built, .. } if !built.is_file()))
        .collect();
    if !unbuilt.is_empty() {
        info!("building what has not been built yet");
        tokio::task::block_in_place(|| build(&app.folder, unbuilt, BuildFor::Serving))?;
    }
    use_small_pages();
    let server = tokio::select! {
        server = Server::bind_with(&app, inherited) => server?,
        () = signals.next() => return Ok(()),
    };
    announce(&server, &app);
    tell(&[NotifyState::Ready]);
    let watched = watchdog();
    let ended = signals.serve(server).await;
    drop(watched);
    ended
}

/// Tells systemd, if it has started this process and wants to know.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "failed to tell the service manager");
    }
}

/// Tells systemd again and again that the process is alive, if it wants to know
/// (`WatchdogSec`): as long as tasks are run.
fn watchdog() -> Option<AbortOnDropHandle<()>> {
    let patience = sd_notify::watchdog_enabled()?;
    let mut due = tokio::time::interval(patience / 2);
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            due.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    })))
}

/// What plugins are compiled by: this program's own file, whatever has been put in its place
/// since it was started.
pub(super) fn this_program() -> Option<PathBuf> {
    let linux = PathBuf::from("/proc/self/exe");
    if linux.exists() { Some(linux) } else { std::env::current_exe().ok() }
}

/// The allocator asks for huge pages, of which it then uses little: without them a server
/// at rest has half the memory, and messages cost the same. Not before cargo was run,
/// as children inherit it.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        debug!("huge pages are used: {error}");
    }
}

/// Says where to go.
pub(super) fn announce(server: &Server, app: &App) {
    for (pattern, plugin) in server.routes() {
        info!("{pattern} is served by {plugin}");
    }
    let (path, listening) = (&app.socket.path, server.listening());
    for (index, listener) in listening.iter().enumerate() {
        let url = listener.url();
        let begin = if index == 0 { "Millrace is listening on" } else { "and on" };
        match url.strip_prefix("http") {
            Some(rest) => say(&format!("{begin} {url} (clients: ws{rest}{path})")),
            None => say(&format!("{begin} {url}")),
        }
    }
    if let Some(url) = &app.server.public_url {
        info!("clients know it as {url}");
    }
    if let Some(admin) = server.admin_address() {
        let scheme =
            if app.admin.as_ref().is_some_and(|admin| admin.tls) { "https" } else { "http" };
        // In one line with nothing else that scripts look for.
        say(&format!("admin {scheme}://{admin}"));
    }
    // By way of a proxy, or themselves.
    let open_to_others = listening.iter().find(|listener| !listener.address.is_local());
    let address = || open_to_others.map(|listener| listener.address.to_string());
    let reached = app.server.public_url.clone().or_else(address);
    for (name, pipeline) in &app.pipelines {
        let is_open = pipeline.http.as_ref().is_some_and(|http| http.token.is_none());
        if let Some(reached) = reached.as_ref().filter(|_| is_open) {
            warn!(
                "everybody who reaches {reached} may hand events to {name}; set pipelines.{name}.http.token"
            );
        }
    }
    if app.dashboard.enabled {
        let token = app.dashboard.token.as_ref().map_or("", |_| "?token=…");
        if let Some(url) = listening.first().map(ListenConfig::url) {
            info!("the dashboard is at {url}/dashboard{token}");
        }
        if let (Some(reached), None) = (reached, &app.dashboard.token) {
            warn!("everybody who reaches {reached} may look at it; set dashboard.token");
        }
    }
}

/// Ctrl-C and SIGTERM, which stop the server, and SIGHUP.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    at_hangup: AtHangup,
    /// What SIGHUP has read anew, once there is a server.
    rereading: Option<Rereading>,
}

/// What SIGHUP does: it is sent when a terminal is closed, and by hand to have a server read
/// its configuration anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtHangup {
    /// The server outlives its terminal, and reads its certificate and its secrets anew.
    GoOn,
    /// Nobody is left to look.
    Stop,
}

impl Signals {
    /// From now on they are waited for, and do not end the process.
    pub(super) fn new(at_hangup: AtHangup) -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let (terminate, hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        Ok(Self { interrupt, terminate, hangup, at_hangup, rereading: None })
    }

    /// Runs the server until the first of them, and lets it stop in good order
    /// until the second: an error then.
    pub(super) async fn serve(mut self, server: Server) -> anyhow::Result<()> {
        let stop = Notify::new();
        self.rereading = Some(server.rereading());
        let twice = async {
            self.next().await;
            info!("stopping; a second Ctrl-C or SIGTERM ends it at once");
            tell(&[NotifyState::Stopping]);
            stop.notify_one();
            self.next().await;
        };
        tokio::select! {
            () = server.run(stop.notified()) => Ok(()),
            () = twice => anyhow::bail!("ended at the second signal, before everything was done"),
        }
    }

    /// What SIGHUP asks a server for; other signals are heard meanwhile.
    fn reread(&self) {
        if let Some(rereading) = self.rereading.clone() {
            tokio::spawn(reread(rereading));
        }
    }

    /// Ready when one of them says that the server is to stop.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => match self.at_hangup {
                    AtHangup::Stop => return,
                    AtHangup::GoOn => self.reread(),
                },
            }
        }
    }
}

/// Reads everything anew that can be, and tells of it.
async fn reread(rereading: Rereading) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
    // Files may be on a disk that does not answer.
    let wrong = tokio::task::spawn_blocking(move || rereading.now()).await;
    match wrong {
        Ok(0) => info!(
            "SIGHUP: the certificate and secrets in files are as they are there now; all else \
            is read at the start; SIGTERM stops the server"
        ),
        // It has been told which, now or before.
        _ => warn!(
            files = wrong.unwrap_or_default(),
            "SIGHUP: not every file is in order, and the server goes on with what it had of them"
        ),
    }
    tell(&[NotifyState::Ready]);
}

/// Descriptors that are left to operators, monitors, those who are turned away, and files.
const OTHER_DESCRIPTORS: u64 = 512;

/// Each connection needs a file descriptor: takes all the system allows, and lets no more
/// clients in than there are for.
pub(super) fn raise_file_limit(socket: &mut SocketConfig) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, "failed to raise the limit of open files");
    }
    let Some(descriptors) = getrlimit(Resource::Nofile).current else { return };
    let allowed = for_clients(descriptors);
    if socket.max_connections > allowed {
        let found = socket.max_connections;
        socket.max_connections = allowed;
        info!(
            "socket.max_connections is {found}, and the process may have {descriptors} \
             descriptors: {allowed} clients are let in; raise the limit (LimitNOFILE, ulimit -n)"
        );
    }
}

/// How many clients may connect with so many descriptors.
fn for_clients(descriptors: u64) -> usize {
    let clients = descriptors - OTHER_DESCRIPTORS.min(descriptors / 2);
    usize::try_from(clients).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_few_descriptors_are_for_clients() {
        let clients = [2, 300, 1024, 100_512].map(for_clients);
        assert_eq!(clients, [1, 150, 512, 100_000]);
    }
}
