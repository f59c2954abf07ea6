//! A call with a deadline.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

/// Waits for `future`, but no longer than `limit`; `None` when it took longer.
/// The clock starts, and costs something, only if it is not ready at once.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(value) => Some(value),
        Poll::Pending => {
            let mut deadline = pin!(sleep(limit));
            poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending => deadline.as_mut().poll(cx).map(|()| None),
            })
            .await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let long = Duration::from_secs(3600);
        assert_eq!(within(long, async { 1 }).await, Some(1));
        assert_eq!(within(long, tokio::task::yield_now()).await, Some(()));
        assert_eq!(within(Duration::from_millis(1), std::future::pending::<()>()).await, None);
    }
}
