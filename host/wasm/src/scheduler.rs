//! Calls with a deadline, and calls that compute for long.
//!
//! A call is polled until it has used up a slice of its fuel. Most have ended by then. The others
//! go on in turns, as many at once as there are cores, each after all tasks that are ready: however
//! many calls compute, other tasks wait for one slice at most.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::engine::EPOCH;

/// The scheduler of calls that compute for longer than one slice; one for a server.
#[derive(Debug)]
pub(super) struct CpuScheduler {
    /// One permit for each core.
    cores: Semaphore,
    /// The number of epochs so far: a clock that costs nothing to read.
    ticks: AtomicU64,
}

/// The time at which a call began, as the number of its epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick(u64);

impl CpuScheduler {
    pub(super) fn new() -> Self {
        Self::of(available_parallelism().map_or(1, usize::from))
    }

    fn of(cores: usize) -> Self {
        Self { cores: Semaphore::new(cores), ticks: AtomicU64::new(0) }
    }

    /// The current tick.
    pub(super) fn tick(&self) -> Tick {
        Tick(self.ticks.load(Ordering::Relaxed))
    }

    /// Counts one more epoch; called every [`EPOCH`].
    pub(super) fn begin_tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// The time since a tick, to an epoch.
    fn since(&self, Tick(begun): Tick) -> Duration {
        let ticks = self.ticks.load(Ordering::Relaxed).saturating_sub(begun);
        EPOCH.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// Waits for `call`, but no longer than `limit`; `None` if it took longer. If it is not ready
    /// at the first poll, `on_pending` is called, a timer starts, and the call takes turns with
    /// others.
    pub(super) async fn within<F: Future>(
        &self,
        limit: Duration,
        mut call: Pin<&mut F>,
        on_pending: impl FnOnce(),
    ) -> Option<F::Output> {
        let begun = self.tick();
        let first = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if let Poll::Ready(value) = first {
            return Some(value);
        }
        on_pending();
        // Boxed: few calls get here, and the future of each call would be larger by it.
        Box::pin(self.run_in_turns(limit, begun, call)).await
    }

    /// As [`Self::within`], for a call that began at `begun` and was not ready at the first poll.
    pub(super) async fn run_in_turns<F: Future>(
        &self,
        limit: Duration,
        begun: Tick,
        call: Pin<&mut F>,
    ) -> Option<F::Output> {
        let left = limit.saturating_sub(self.since(begun));
        let (mut rest, mut deadline) = (pin!(self.finish_in_turns(call)), pin!(sleep(left)));
        poll_fn(|cx| match rest.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => deadline.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Polls a call slice after slice until it has ended.
    async fn finish_in_turns<F: Future>(&self, mut call: Pin<&mut F>) -> F::Output {
        let mut computes = false;
        loop {
            // The semaphore is never closed; if it were, the call would go on without a turn.
            let turn = if computes { self.cores.acquire().await.ok() } else { None };
            if turn.is_some() {
                // The tasks that are ready go first.
                yield_now().await;
            }
            match poll_fn(|cx| Poll::Ready(poll_slice(call.as_mut(), cx))).await {
                SlicePoll::Ended(value) => return value,
                SlicePoll::Computes => computes = true,
                SlicePoll::Waits => {
                    computes = false;
                    drop(turn);
                    until_woken().await;
                }
            }
        }
    }
}

/// The end of one poll of a call.
enum SlicePoll<T> {
    Ended(T),
    /// The call was woken during the poll: it computes, and could go on at once.
    Computes,
    Waits,
}

/// Polls a call once, for one slice.
fn poll_slice<F: Future>(call: Pin<&mut F>, cx: &mut Context<'_>) -> SlicePoll<F::Output> {
    let woken = Arc::new(Woken { inner: cx.waker().clone(), yet: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&woken));
    match call.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(value) => SlicePoll::Ended(value),
        Poll::Pending if woken.yet.load(Ordering::Relaxed) => SlicePoll::Computes,
        Poll::Pending => SlicePoll::Waits,
    }
}

/// Pending once, and ready at the second poll, which comes when the call wakes its waker.
async fn until_woken() {
    let mut polled = false;
    poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

/// A waker that remembers whether it was used.
struct Woken {
    inner: Waker,
    yet: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.yet.store(true, Ordering::Relaxed);
        self.inner.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let (scheduler, short) = (CpuScheduler::new(), Duration::from_millis(1));
        assert_eq!(scheduler.within(LONG, pin!(ready(1)), || ()).await, Some(1));
        assert_eq!(scheduler.within(LONG, pin!(yield_now()), || ()).await, Some(()));
        assert_eq!(scheduler.within(short, pin!(pending::<()>()), || ()).await, None);
        let used = AtomicUsize::new(0);
        assert_eq!(scheduler.within(short, pin!(compute(usize::MAX, &used)), || ()).await, None);
    }

    /// A call that uses up `slices` slices of fuel.
    async fn compute(slices: usize, used: &AtomicUsize) {
        for _ in 0..slices {
            used.fetch_add(1, Ordering::Relaxed);
            let mut polled = false;
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    #[tokio::test]
    async fn those_that_compute_let_others_go_first() {
        const CALLS: usize = 20;
        const SLICES: usize = 10_000;
        let (scheduler, used) = (Arc::new(CpuScheduler::new()), Arc::new(AtomicUsize::new(0)));
        let call = || {
            let (scheduler, used) = (Arc::clone(&scheduler), Arc::clone(&used));
            async move { scheduler.within(LONG, pin!(compute(SLICES, &used)), || ()).await }
        };
        let calls: Vec<_> = (0..CALLS).map(|_| tokio::spawn(call())).collect();
        yield_now().await;
        let before = used.load(Ordering::Relaxed);
        let (there, mut here) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..1_000 {
                there.send(()).await.unwrap();
            }
        });
        tokio::spawn(async move { while here.recv().await.is_some() {} }).await.unwrap();
        let meanwhile = used.load(Ordering::Relaxed) - before;
        // One round after the other, it would be twenty slices to each.
        assert!(meanwhile < 1_000, "{meanwhile} slices beside 1000 messages");
        for call in calls {
            assert_eq!(call.await.unwrap(), Some(()));
        }
        assert_eq!(used.load(Ordering::Relaxed), CALLS * SLICES);
    }

    #[tokio::test]
    async fn one_that_waits_leaves_its_turn_to_others() {
        let (scheduler, used) = (CpuScheduler::of(1), AtomicUsize::new(0));
        let (wake, woken) = tokio::sync::oneshot::channel();
        let waits = async {
            compute(5, &used).await;
            woken.await
        };
        let computes = async {
            compute(5, &used).await;
            wake.send(())
        };
        let (waits, computes) = (pin!(waits), pin!(computes));
        let both =
            join(scheduler.within(LONG, waits, || ()), scheduler.within(LONG, computes, || ()))
                .await;
        assert_eq!(both, (Some(Ok(())), Some(Ok(()))));
    }
}
