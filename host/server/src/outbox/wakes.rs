//! What wakes the connections of one thread from others.
//!
//! A broadcast wakes many connections at once, and to wake a task of another thread is
//! a write to a file descriptor of the kernel. So their wakers are gathered, and one
//! task of the thread is woken that wakes them all.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;

thread_local! {
    /// Of this thread, if it has a task for it.
    static HERE: RefCell<Option<Arc<Wakes>>> = const { RefCell::new(None) };
}

/// Wakers of one thread's tasks.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    asleep: Mutex<Vec<Waker>>,
    /// The task that wakes them.
    task: AtomicWaker,
}

impl Wakes {
    /// Those of this thread, if [`run`] is running on it.
    pub(crate) fn here() -> Option<Arc<Self>> {
        HERE.with_borrow(Clone::clone)
    }

    /// Wakes a task of this thread, from whichever thread.
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

    /// Wakes all that wait; `awake` is empty, and lends its room.
    fn wake_all(&self, awake: &mut Vec<Waker>, cx: &Context<'_>) {
        // Before looking, or a waker that comes in between would be left there.
        self.task.register(cx.waker());
        std::mem::swap(&mut *self.lock(), awake);
        awake.drain(..).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the connections of this thread for all others, until it is dropped.
pub(crate) async fn run() {
    let wakes = Arc::new(Wakes::default());
    HERE.set(Some(Arc::clone(&wakes)));
    let _running = Running;
    let mut awake = Vec::new();
    poll_fn(|cx| {
        wakes.wake_all(&mut awake, cx);
        Poll::Pending
    })
    .await
}

/// Connections are woken one by one again once it is dropped.
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
        let wakes = Wakes::here().unwrap();
        wakes.wake(Arc::clone(&connection).into());
        assert_eq!((task.so_far(), connection.so_far()), (0, 1), "from its own thread: at once");
        for round in 1..=2 {
            let (there, waker) = (Arc::clone(&wakes), Waker::from(Arc::clone(&connection)));
            let woken = thread::spawn(move || (0..100).for_each(|_| there.wake(waker.clone())));
            woken.join().unwrap();
            assert_eq!(task.so_far(), round);
            assert!(running.as_mut().poll(&mut cx).is_pending());
            assert_eq!(connection.so_far(), 1 + 100 * round);
        }
        drop(running);
        assert!(Wakes::here().is_none());
    }
}
