//! The runtime of a command.

use std::time::Duration;

use tokio::runtime::Builder;

/// The time that blocking threads have to end when the program ends. Those that will end, such as
/// one that writes a file, take less.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs `work` to its end.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A thread that blocks for ever must not delay the end.
    runtime.shutdown_timeout(BLOCKING_TIMEOUT);
    result
}
