//! Panics of the server in a call of a plugin: they cost that call and its instance, and nobody
//! else's.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tracing::error;

use super::Fault;

/// Polls a call of a plugin, and turns a panic of the server into a fault. After a panic the call
/// must not be polled again.
pub(super) fn poll_caught<F: Future>(
    plugin: &str,
    call: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Fault>> {
    // Nobody sees anything half done: the instance is the call's own, and locks that others share
    // are not poisoned (`PoisonError::into_inner`), as nothing under them calls a plugin.
    match catch_unwind(AssertUnwindSafe(|| call.poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => {
            let message = message(&*panic);
            error!(
                plugin,
                "the server panicked in a call of the plugin, which is failed and costs its \
                 instance; please report it: {message}"
            );
            Poll::Ready(Err(Fault::panicked(message)))
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::FaultKind;

    fn poll<T>(call: impl Future<Output = T>) -> Poll<Result<T, Fault>> {
        poll_caught("room", pin!(call), &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_panic_is_the_end_of_a_call_and_nobodys_fault() {
        let number = 1;
        let Poll::Ready(Err(fault)) = poll(async { panic!("number {number}") }) else {
            panic!("the call goes on");
        };
        assert_eq!(fault.kind, FaultKind::Server);
        assert!(fault.message.contains("number 1"), "{fault}");
        assert!(!fault.is_plugins());
    }

    #[test]
    fn other_calls_are_as_they_were() {
        assert!(matches!(poll(async { 1 }), Poll::Ready(Ok(1))));
        assert!(poll(std::future::pending::<()>()).is_pending());
    }
}
