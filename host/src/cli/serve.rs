//! `millrace serve`: an app as it was built.

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::say;
use crate::Server;
use crate::config::App;
use crate::plugin::{Source, build};

/// Serves until the process is told to stop.
pub(super) async fn run(app: App) -> anyhow::Result<()> {
    // Before the address is printed: whoever reads it may stop the server at once.
    let stopped = stopped()?;
    raise_file_limit();
    let unbuilt: Vec<&Source> = app
        .plugins
        .iter()
        .map(|plugin| &plugin.source)
        .filter(|source| matches!(source, Source::Crate { built, .. } if !built.is_file()))
        .collect();
    if !unbuilt.is_empty() {
        info!("building what has not been built yet");
        tokio::task::block_in_place(|| build(&app.folder, unbuilt))?;
    }
    let server = Server::bind(&app).await?;
    announce(&server, &app);
    server.run(stopped).await;
    Ok(())
}

/// Says where to go.
pub(super) fn announce(server: &Server, app: &App) {
    let address = server.address();
    for (pattern, plugin) in server.routes() {
        info!("{pattern} is served by {plugin}");
    }
    let path = &app.socket.path;
    say(&format!("Millrace is listening on http://{address} (clients: ws://{address}{path})"));
}

/// Ready when the process is told to stop, by Ctrl-C or SIGTERM.
pub(super) fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Each connection needs a file descriptor: takes all the system allows.
pub(super) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, "failed to raise the limit of open files");
    }
}
