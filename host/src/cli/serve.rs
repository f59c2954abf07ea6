//! `millrace serve`: an app as it was built.

use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::say;
use crate::Server;
use crate::config::{App, SocketConfig};
use crate::plugin::{BuildFor, Source, build};

/// Serves until the process is told to stop.
pub(super) async fn run(mut app: App) -> anyhow::Result<()> {
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
        server = Server::bind(&app) => server?,
        () = signals.next() => return Ok(()),
    };
    announce(&server, &app);
    signals.serve(server).await
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
    let address = server.address();
    for (pattern, plugin) in server.routes() {
        info!("{pattern} is served by {plugin}");
    }
    let path = &app.socket.path;
    say(&format!("Millrace is listening on http://{address} (clients: ws://{address}{path})"));
    if let Some(admin) = server.admin_address() {
        // In one line with nothing else that scripts look for.
        say(&format!("admin http://{admin}"));
    }
    for (name, pipeline) in &app.pipelines {
        let is_open = pipeline.http.as_ref().is_some_and(|http| http.token.is_none());
        if is_open && !address.ip().is_loopback() {
            warn!(
                "everybody who reaches {address} may hand events to {name}; set pipelines.{name}.http.token"
            );
        }
    }
    if app.dashboard.enabled {
        let token = app.dashboard.token.as_ref().map_or("", |_| "?token=…");
        info!("the dashboard is at http://{address}/dashboard{token}");
        if app.dashboard.token.is_none() && !address.ip().is_loopback() {
            warn!("everybody who reaches {address} may look at it; set dashboard.token");
        }
    }
}

/// Ctrl-C and SIGTERM, which stop the server, and SIGHUP.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    at_hangup: AtHangup,
}

/// What SIGHUP does: it is sent when a terminal is closed, and by hand to have a server read
/// its configuration anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtHangup {
    /// The server outlives its terminal, and there is nothing it reads anew.
    GoOn,
    /// Nobody is left to look.
    Stop,
}

impl Signals {
    /// From now on they are waited for, and do not end the process.
    pub(super) fn new(at_hangup: AtHangup) -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let (terminate, hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        Ok(Self { interrupt, terminate, hangup, at_hangup })
    }

    /// Runs the server until the first of them, and lets it stop in good order
    /// until the second: an error then.
    pub(super) async fn serve(mut self, server: Server) -> anyhow::Result<()> {
        let stop = Notify::new();
        let twice = async {
            self.next().await;
            info!("stopping; once more to end at once");
            stop.notify_one();
            self.next().await;
        };
        tokio::select! {
            () = server.run(stop.notified()) => Ok(()),
            () = twice => anyhow::bail!("ended at the second signal, before everything was done"),
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
                    AtHangup::GoOn => info!("SIGHUP changes nothing; SIGTERM stops the server"),
                },
            }
        }
    }
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
