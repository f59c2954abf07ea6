//! What has to know that a response was handed to the system.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;

/// Something that waits until a response is written. It is dropped if that does not happen.
pub(crate) trait AwaitsWrite: Debug + Send {
    /// Everything was handed to the system.
    fn written(self: Box<Self>);
}

/// The place of one connection for what waits until its response is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct OnFlush(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Option<Box<dyn AwaitsWrite>>>,
    /// Whether a request waits for something to answer.
    is_request_waiting: AtomicBool,
}

/// A request that waits for something to answer; dropped, it does not wait any more.
#[derive(Debug)]
pub(crate) struct WaitingRequest(OnFlush);

impl OnFlush {
    /// Sets what waits until all bytes that HTTP has now are written.
    pub(crate) fn set(&self, waiting: Box<dyn AwaitsWrite>) {
        // What waited before is dropped after the lock is released.
        let _before = lock(&self.0.waiting).replace(waiting);
    }

    /// Tells what waits that everything is written.
    pub(crate) fn flushed(&self) {
        let waiting = lock(&self.0.waiting).take();
        if let Some(waiting) = waiting {
            waiting.written();
        }
    }

    /// Marks the connection as one whose request waits for something to answer.
    pub(crate) fn wait(&self) -> WaitingRequest {
        self.0.is_request_waiting.store(true, Ordering::Relaxed);
        WaitingRequest(self.clone())
    }

    /// Whether a request waits for something to answer.
    pub(crate) fn is_request_waiting(&self) -> bool {
        self.0.is_request_waiting.load(Ordering::Relaxed)
    }
}

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        self.0.0.is_request_waiting.store(false, Ordering::Relaxed);
    }
}
