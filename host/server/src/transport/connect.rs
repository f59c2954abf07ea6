//! Who a client is: its token, and the plugin's `connect`. All transports ask here.

use std::sync::Arc;

use millrace_session::Token;
use millrace_session::channel::Failure;
use millrace_telemetry::Metric;
use millrace_wasm::{ConnectIdentity, ConnectRequest, Connected, Refusal};
use tracing::error;

use crate::node::Node;

/// The place where faults of `connect` are listed, where other faults have a topic.
const CONNECT: &str = "(connect)";

/// Verifies the token of a client of the app, and asks the plugin whether it may connect. The user
/// id is that of the plugin, or else that of the token.
///
/// # Errors
///
/// The client is refused.
pub(super) async fn connect(
    mut request: ConnectRequest,
    node: &Node,
) -> Result<(Connected, Option<Arc<Token>>), Refusal> {
    // What is wrong with a token is for the log alone.
    let forbidden = |_| Refusal { status: 403, reason: String::new() };
    let Some(verified) = node.auth.verify(&request).await.map_err(forbidden)? else {
        return Ok((ask(&request, node).await?, None));
    };
    let user_id = verified.user_id.map(String::from);
    let claims = verified.token.claims.clone();
    request.identity = Some(ConnectIdentity { user_id: user_id.clone(), claims });
    let mut connected = ask(&request, node).await?;
    connected.user_id = connected.user_id.or(user_id);
    Ok((connected, Some(verified.token)))
}

/// Asks the plugin that decides who may connect; without one, everybody may.
async fn ask(request: &ConnectRequest, node: &Node) -> Result<Connected, Refusal> {
    let Some(plugin) = node.registry.socket() else { return Ok(Connected::default()) };
    match plugin.connect(request).await {
        Ok(answer) => answer,
        Err(fault) => {
            let (plugin, cause) = (plugin.name(), fault.kind.as_str());
            node.metrics.count_of(Metric::WasmFault, &[plugin, cause], 1);
            node.faults.push(&fault, plugin, CONNECT);
            if let Some(line) = node.faults.line(plugin) {
                let (details, left_out) = (fault.details(), line.left_out());
                error!(plugin, cause, left_out, details, "connect failed: {}", fault.message);
            }
            let (status, reason) = match fault.failure() {
                Failure::Overloaded { .. } | Failure::Unavailable { .. } => (503, "overloaded\n"),
                Failure::Crashed | Failure::TimedOut => (500, ""),
            };
            Err(Refusal { status, reason: reason.to_owned() })
        }
    }
}
