//! The first request of a connection over HTTP, for which a client has less time than for
//! those after it: until then, nothing has come of its place.

use std::time::Duration;

use tokio::sync::watch;

/// Whether it has come.
#[derive(Clone, Debug)]
pub(crate) struct FirstRequest(watch::Sender<bool>);

impl FirstRequest {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// A request has come.
    pub(crate) fn came(&self) {
        self.0.send_if_modified(|came| !std::mem::replace(came, true));
    }

    /// Ready with `true` when none has come for so long, and with `false` when one has.
    pub(crate) async fn is_late(&self, timeout: Duration) -> bool {
        let mut came = self.0.subscribe();
        tokio::time::timeout(timeout, came.wait_for(|came| *came)).await.is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_late_unless_it_has_come() {
        let first = FirstRequest::new();
        assert!(first.is_late(Duration::from_secs(1)).await);
        let coming = first.clone();
        let (is_late, ()) = tokio::join!(first.is_late(Duration::from_secs(1)), async move {
            coming.came();
        });
        assert!(!is_late);
        assert!(!first.is_late(Duration::ZERO).await);
    }
}
