//! How long a test waits, and for what.

use std::time::Duration;

use tokio::time::timeout;

/// How long a test waits for what has to come: far above what a loaded machine
/// needs, so that it only ends what would never come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The same for what compiles first.
pub const BUILD_PATIENCE: Duration = Duration::from_secs(600);

/// Asks until there is an answer: for what the server says to nobody.
///
/// # Panics
/// If there is none in time; `awaited` says what it would have been.
pub async fn eventually<T>(awaited: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answered = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("{awaited}: not in time"))
}
