//! The runtime of a command.

use std::time::Duration;

use tokio::runtime::Builder;

/// How long threads that block have when the program ends: those that finish something, as
/// a file that is written, take less.
const LAST_BLOCKING: Duration = Duration::from_secs(1);

/// Runs to the end of `work`.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // What blocks a thread for ever does not hold up the end.
    runtime.shutdown_timeout(LAST_BLOCKING);
    result
}
