//! `millrace serve`: serves an app as it was built.

use std::path::PathBuf;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::say;
use crate::config::{App, ListenConfig, SocketConfig};
use crate::net::Inherited;
use crate::plugin::{BuildFor, Source, build};
use crate::server::Rereader;
use crate::server::Server;

/// Serves until the process is told to stop.
pub(super) async fn run(mut app: App, inherited: Inherited) -> anyhow::Result<()> {
    app.compile.program = this_program();
    // Before the address is printed: whoever reads it may stop the server at once.
    let mut signals = Signals::new(HangupAction::Reload)?;
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
    notify(&[NotifyState::Ready]);
    let watched = watchdog();
    let ended = signals.serve(server).await;
    drop(watched);
    ended
}

/// Notifies systemd of a state, if systemd has started this process.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "failed to tell the service manager");
    }
}

/// Notifies systemd again and again that the process is alive, if it has asked for that
/// (`WatchdogSec`). It stops when tasks are not run any more.
fn watchdog() -> Option<AbortOnDropHandle<()>> {
    let timeout = sd_notify::watchdog_enabled()?;
    let mut due = tokio::time::interval(timeout / 2);
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            due.tick().await;
            notify(&[NotifyState::Watchdog]);
        }
    })))
}

/// The program that compiles plugins: this program's own file, even if another one has replaced it
/// since the start.
pub(super) fn this_program() -> Option<PathBuf> {
    let linux = PathBuf::from("/proc/self/exe");
    if linux.exists() { Some(linux) } else { std::env::current_exe().ok() }
}

/// Turns huge pages off. The allocator asks for them and then uses little of each: without them a
/// server without clients takes half the memory, and messages cost the same. It is done after cargo
/// was run, because child processes inherit it.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        debug!("huge pages are used: {error}");
    }
}

/// Prints and logs the addresses of the server.
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
        // Scripts look for this line, so it has nothing else in it.
        say(&format!("admin {scheme}://{admin}"));
    }
    // The address at which others reach the server, through a proxy or directly.
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

/// The signals that stop the server, Ctrl-C and SIGTERM, and SIGHUP.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    hangup_action: HangupAction,
    /// The files that SIGHUP makes the server read again, once there is a server.
    rereading: Option<Rereader>,
}

/// The effect of SIGHUP. It is sent when a terminal is closed, and by hand to make a server read
/// its configuration again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangupAction {
    /// The server goes on without its terminal, and reads its certificate and its secrets again.
    Reload,
    /// The server stops, because nobody is left to watch it.
    Stop,
}

impl Signals {
    /// Catches the signals, which end the process no longer.
    pub(super) fn new(hangup_action: HangupAction) -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let (terminate, hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        Ok(Self { interrupt, terminate, hangup, hangup_action, rereading: None })
    }

    /// Runs the server until the first signal, and then lets it stop in good order. A second signal
    /// is an error, and ends it at once.
    pub(super) async fn serve(mut self, server: Server) -> anyhow::Result<()> {
        let stop = Notify::new();
        self.rereading = Some(server.rereading());
        let twice = async {
            self.next().await;
            info!("stopping; a second Ctrl-C or SIGTERM ends it at once");
            notify(&[NotifyState::Stopping]);
            stop.notify_one();
            self.next().await;
        };
        tokio::select! {
            () = server.run(stop.notified()) => Ok(()),
            () = twice => anyhow::bail!("ended at the second signal, before everything was done"),
        }
    }

    /// Reads files again because of SIGHUP, in a task, so that other signals are noticed meanwhile.
    fn reread(&self) {
        if let Some(rereading) = self.rereading.clone() {
            tokio::spawn(reread(rereading));
        }
    }

    /// Waits for a signal to stop the server.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => match self.hangup_action {
                    HangupAction::Stop => return,
                    HangupAction::Reload => self.reread(),
                },
            }
        }
    }
}

/// Reads all files again that can change, and reports the result.
async fn reread(rereading: Rereader) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    // Reading a file may block, if its disk does not answer.
    let wrong = tokio::task::spawn_blocking(move || rereading.now()).await;
    match wrong {
        Ok(0) => info!(
            "SIGHUP: the certificate and secrets in files are as they are there now; all else \
            is read at the start; SIGTERM stops the server"
        ),
        // The log already has the names of these files.
        _ => warn!(
            files = wrong.unwrap_or_default(),
            "SIGHUP: not every file is in order, and the server goes on with what it had of them"
        ),
    }
    notify(&[NotifyState::Ready]);
}

/// The number of file descriptors for operators, monitors, refused connections and files.
const OTHER_DESCRIPTORS: u64 = 512;

/// Raises the limit of open files to what the system allows, as each connection needs one; lowers
/// `max_connections` if that is still too few.
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

/// The number of clients that can connect with this number of file descriptors.
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
