//! `millrace dev`: build, serve, and reload on every change.

use std::pin::pin;
use std::sync::Arc;

use tracing::{error, info};

use super::serve::{AtHangup, Signals, announce, raise_file_limit, this_program};
use crate::Server;
use crate::config::App;
use crate::plugin::{Trust, build, watch};
use crate::server::Swapper;

/// Serves until the process is told to stop, and keeps up with the sources.
pub(super) async fn run(mut app: App) -> anyhow::Result<()> {
    // Before the address is printed: whoever reads it may stop the server at once.
    let signals = Signals::new(AtHangup::Stop)?;
    raise_file_limit(&mut app.socket);
    app.dashboard.enabled = true;
    app.swap.is_forgotten = true;
    app.compile.program = this_program();
    app.plugins.iter_mut().for_each(|plugin| plugin.trust = Trust::default());
    let app = Arc::new(app);
    build_all(&app).await?;
    let server = Server::bind(&app).await?;
    let swapper = server.swapper();
    let reloading = async {
        let sources = app.plugins.iter().map(|plugin| &plugin.source);
        if let Err(error) = watch(sources, async || reload(&app, &swapper).await).await {
            error!(%error, "sources cannot be watched; restart to see changes");
        }
        std::future::pending::<()>().await;
    };
    let mut reloading = pin!(reloading);
    // Sources are watched before anybody is told where to go, who may change them.
    let _ = futures_util::poll!(&mut reloading);
    announce(&server, &app);
    tokio::select! {
        served = signals.serve(server) => served,
        () = reloading => Ok(()),
    }
}

async fn build_all(app: &Arc<App>) -> anyhow::Result<()> {
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || {
        build(&app.folder, app.plugins.iter().map(|plugin| &plugin.source))
    })
    .await??;
    Ok(())
}

/// Builds, and makes what was built the live version. Whatever fails leaves the
/// version before it running.
async fn reload(app: &Arc<App>, swapper: &Swapper) {
    info!("sources have changed");
    if let Err(error) = build_all(app).await {
        return error!(details = %format!("{error:#}"), "not built; the version before goes on");
    }
    for plugin in &app.plugins {
        match swapper.swap(plugin).await {
            Ok(()) => info!(plugin = plugin.name, "reloaded"),
            Err(error) => error!(details = %error, "not reloaded; the version before it goes on"),
        }
    }
}
