//! Watching of a new version: whether its calls succeed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_wasm::Health;

use crate::config::SwapConfig;
use crate::plugin::{Plugin, PluginVersion};

/// The interval between two looks at a watched version.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn is_serving(plugin: &Plugin, version: &Arc<PluginVersion>) -> bool {
    match plugin.canary() {
        Some((canary, _)) => Arc::ptr_eq(&canary, version),
        None => Arc::ptr_eq(&plugin.live(), version),
    }
}

/// Watches the calls of a version for a while. An error says that too many have failed; it comes as
/// soon as `swap.min_calls` were made.
pub(super) async fn watched(
    plugin: &Plugin,
    version: &Arc<PluginVersion>,
    watch: Duration,
    config: &SwapConfig,
) -> Result<String, String> {
    let (began, before) = (Instant::now(), version.health());
    while began.elapsed() < watch && is_serving(plugin, version) {
        tokio::time::sleep(CHECK_INTERVAL.min(watch)).await;
        check_health(before, version.health(), config, config.min_calls)?;
    }
    check_health(before, version.health(), config, 1)
}

fn check_health(
    before: Health,
    now: Health,
    config: &SwapConfig,
    least: u64,
) -> Result<String, String> {
    let faults = now.faults - before.faults;
    let calls = now.succeeded - before.succeeded + faults;
    let errors = now.errors - before.errors;
    #[expect(clippy::cast_precision_loss, reason = "counts need no 53 bits")]
    let rate = |of: u64| of as f64 / calls.max(1) as f64;
    let summary = format!("{faults} of {calls} calls failed, {errors} answered with an error");
    let over = [
        ("max_fault_rate", rate(faults), config.max_fault_rate),
        ("max_error_rate", rate(errors), config.max_error_rate),
    ];
    match over.iter().find(|(_, found, allowed)| calls >= least && found > allowed) {
        Some((key, _, allowed)) => {
            Err(format!("{summary}; {} % are allowed (swap.{key})", allowed * 100.0))
        }
        None => Ok(summary),
    }
}
