//! The first request of a connection over HTTP. A client has less time for it than for later ones,
//! as it takes a place and has done nothing with it yet.

use std::time::Duration;

use tokio::sync::watch;

/// A flag that the first request has come.
#[derive(Clone, Debug)]
pub(crate) struct FirstRequest(watch::Sender<bool>);

impl FirstRequest {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Notes that a request has come.
    pub(crate) fn note_arrival(&self) {
        self.0.send_if_modified(|came| !std::mem::replace(came, true));
    }

    /// Ready with `true` when no request has come within `timeout`, and with `false` when one has.
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
            coming.note_arrival();
        });
        assert!(!is_late);
        assert!(!first.is_late(Duration::ZERO).await);
    }
}
