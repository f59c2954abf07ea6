//! Waking the connections of one thread from other threads.
//!
//! A broadcast wakes many connections at once, and waking a task of another thread means a write to
//! a file descriptor of the kernel. So their wakers are collected, and one task of the thread is
//! woken, which wakes all of them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;

thread_local! {
    /// The wakers of this thread, if [`run`] is running on it.
    static HERE: RefCell<Option<Arc<WakeQueue>>> = const { RefCell::new(None) };
}

/// The wakers of one thread's tasks.
#[derive(Debug, Default)]
pub(crate) struct WakeQueue {
    asleep: Mutex<Vec<Waker>>,
    /// The task that wakes them.
    task: AtomicWaker,
}

impl WakeQueue {
    /// The wakers of this thread, if [`run`] is running on it.
    pub(crate) fn here() -> Option<Arc<Self>> {
        HERE.with_borrow(Clone::clone)
    }

    /// Wakes a task of this thread. May be called on any thread.
    pub(super) fn wake(&self, waker: Waker) {
        if self.is_here() {
            return waker.wake();
        }
        let mut asleep = self.lock();
        asleep.push(waker);
        let is_first = asleep.len() == 1;
        drop(asleep);
        if is_first {
            self.task.wake();
        }
    }

    fn is_here(&self) -> bool {
        HERE.with_borrow(|here| here.as_ref().is_some_and(|here| std::ptr::eq(&**here, self)))
    }

    /// Wakes all tasks that were collected; `awake` is empty, and lends its capacity.
    fn wake_all(&self, awake: &mut Vec<Waker>, cx: &Context<'_>) {
        // The waker is registered before the list is read: otherwise one that is added in between
        // would stay there.
        self.task.register(cx.waker());
        std::mem::swap(&mut *self.lock(), awake);
        awake.drain(..).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the connections of this thread for all other threads, until it is dropped.
pub(crate) async fn run() {
    let wake_queue = Arc::new(WakeQueue::default());
    HERE.set(Some(Arc::clone(&wake_queue)));
    let _running = Running;
    let mut awake = Vec::new();
    poll_fn(|cx| {
        wake_queue.wake_all(&mut awake, cx);
        Poll::Pending
    })
    .await
}

/// Once this is dropped, connections are woken one by one again.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        HERE.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn so_far(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn other_threads_wake_many_by_waking_one() {
        let (task, connection) = (Arc::<Count>::default(), Arc::<Count>::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let mut running = Box::pin(run());
        assert!(running.as_mut().poll(&mut cx).is_pending());
        let wake_queue = WakeQueue::here().unwrap();
        wake_queue.wake(Arc::clone(&connection).into());
        assert_eq!((task.so_far(), connection.so_far()), (0, 1), "from its own thread: at once");
        for round in 1..=2 {
            let (there, waker) = (Arc::clone(&wake_queue), Waker::from(Arc::clone(&connection)));
            let woken = thread::spawn(move || (0..100).for_each(|_| there.wake(waker.clone())));
            woken.join().unwrap();
            assert_eq!(task.so_far(), round);
            assert!(running.as_mut().poll(&mut cx).is_pending());
            assert_eq!(connection.so_far(), 1 + 100 * round);
        }
        drop(running);
        assert!(WakeQueue::here().is_none());
    }
}
