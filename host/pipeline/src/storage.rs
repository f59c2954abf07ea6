//! The storage that keeps a pipeline's events until they have ended.
//!
//! ```text
//! append ──▶ in hand ──ack──▶ gone
//!             ▲   │
//!       lease │   │ nack, or the lease has run out
//!             │   ▼
//!             kept
//! ```
//!
//! A pipeline works on the events that it has in hand. A storage that outlives the server has each
//! of those events too, from before its producer is told that it was accepted until it is
//! acknowledged. Events that a server had in hand when it was killed are leased again, and begin
//! with the first stage. So each event is handled at least once.
//!
//! Today there is only [`Memory`]. A log on disk and JetStream fit the same trait: both take
//! events without blocking and say later that they are safe, and both hand out again the events
//! that were not acknowledged, the one after a restart, the other when a lease has run out.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use super::event::{NewEvent, Now};

/// A storage of events. It is called under the pipeline's lock, so none of its methods may block:
/// work that takes time belongs on a thread or a task of the storage's own.
pub(crate) trait Storage: Debug + Send {
    /// Keeps an event, which is leased to the caller at once. Returns its number, which is larger
    /// than all before it. The producer is told once [`Self::safe`] is ready.
    ///
    /// # Errors
    ///
    /// When the event cannot be kept; it is refused then.
    fn append(&mut self, event: &NewEvent, now: Now) -> Result<u64, StorageError>;

    /// A future that is ready when all events up to `number` are safe; `None` when they are
    /// already, or the storage makes no event safe.
    fn safe(&self, number: u64) -> Option<Safe> {
        let _ = number;
        None
    }

    /// Leases events that nobody has in hand to the caller: the oldest first, at most `max`.
    fn lease(&mut self, max: usize, now: Now) -> Vec<Leased> {
        let _ = (max, now);
        Vec::new()
    }

    /// Acknowledges an event that has ended: it need not be kept any more.
    fn ack(&mut self, number: u64);

    /// Gives an event back that was not handled: it can be leased again.
    fn nack(&mut self, number: u64);

    /// Extends the leases of events that are still in hand: they begin again now.
    fn extend(&mut self, numbers: &[u64], now: Now) {
        let _ = (numbers, now);
    }

    /// The time between two extensions of the leases; `None` when events are nowhere but in hand.
    fn renew_every(&self) -> Option<Duration> {
        None
    }
}

/// A future that is ready when events are safe, or with the reason why they will not be.
pub(crate) type Safe = Pin<Box<dyn Future<Output = Result<(), StorageError>> + Send>>;

/// An event that a storage leases out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leased {
    /// The number that [`Storage::append`] gave it.
    pub(crate) number: u64,
    pub(crate) event: NewEvent,
}

/// An event that could not be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to keep an event: {0}")]
pub struct StorageError(pub String);

/// The storage that keeps nothing: a server that is killed loses the events that it has in hand.
#[derive(Debug, Default)]
pub(super) struct Memory {
    last: u64,
}

impl Storage for Memory {
    fn append(&mut self, _: &NewEvent, _: Now) -> Result<u64, StorageError> {
        self.last += 1;
        Ok(self.last)
    }

    fn ack(&mut self, _: u64) {}

    fn nack(&mut self, _: u64) {}
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;
    use crate::consumer::ConsumerConfig;
    use crate::core::{Batch, CallEnd, Core, CoreConfig, Next, OnFull, StageConfig};
    use crate::demand::DemandLimits;
    use crate::dispatcher::{DemandDispatcher, Subscription};
    use crate::event::StageConsumer;
    use crate::retry::RetryPolicy;

    /// A storage that outlives the pipeline, as a log on disk does. It has room for 40 events.
    #[derive(Clone, Debug, Default)]
    struct Journal(Arc<Mutex<Records>>);

    #[derive(Debug, Default)]
    struct Records {
        last: u64,
        /// The events by number, each with whether somebody has it in hand.
        events: BTreeMap<u64, (NewEvent, bool)>,
        acked: BTreeSet<u64>,
        extended: usize,
    }

    impl Journal {
        /// Ends all leases: the server that had the events in hand is gone.
        fn crash(&self) {
            self.0.lock().unwrap().events.values_mut().for_each(|(_, in_hand)| *in_hand = false);
        }
    }

    impl Storage for Journal {
        fn append(&mut self, event: &NewEvent, _: Now) -> Result<u64, StorageError> {
            let mut kept = self.0.lock().unwrap();
            if kept.last == 40 {
                return Err(StorageError("the disk is full".to_owned()));
            }
            kept.last += 1;
            let number = kept.last;
            kept.events.insert(number, (event.clone(), true));
            Ok(number)
        }

        fn lease(&mut self, max: usize, _: Now) -> Vec<Leased> {
            let mut kept = self.0.lock().unwrap();
            let free = kept.events.iter_mut().filter(|(_, (_, in_hand))| !in_hand).take(max);
            let lease = |(number, (event, in_hand)): (&u64, &mut (NewEvent, bool))| {
                *in_hand = true;
                Leased { number: *number, event: event.clone() }
            };
            free.map(lease).collect()
        }

        fn ack(&mut self, number: u64) {
            let mut kept = self.0.lock().unwrap();
            assert!(kept.events.remove(&number).is_some(), "{number} is not kept");
            assert!(kept.acked.insert(number), "{number} was acknowledged before");
        }

        fn nack(&mut self, number: u64) {
            let mut kept = self.0.lock().unwrap();
            kept.events.get_mut(&number).expect("it is kept").1 = false;
        }

        fn extend(&mut self, numbers: &[u64], _: Now) {
            let mut kept = self.0.lock().unwrap();
            assert!(numbers.iter().all(|number| kept.events[number].1), "not in hand");
            kept.extended += numbers.len();
        }

        fn renew_every(&self) -> Option<Duration> {
            Some(Duration::from_secs(1))
        }
    }

    fn core(journal: &Journal) -> Core {
        let retry = RetryPolicy {
            max_attempts: 2,
            backoff: Duration::from_millis(10),
            max_backoff: Duration::from_millis(10),
        };
        let config = CoreConfig {
            size: 8,
            max_bytes: 1 << 20,
            max_per_key: 0,
            on_full: OnFull::Reject,
            retry,
            deadline: None,
            ordered: false,
            keep_dropped: false,
        };
        let consumer = ConsumerConfig {
            subscription: Subscription { max_demand: 4, selector: 1, ..Subscription::default() },
            demand: DemandLimits::new(4, None).unwrap(),
            batch_size: 2,
            batch_timeout_ns: 0,
            concurrency: 2,
        };
        let dispatcher = Box::<DemandDispatcher>::default();
        let mut core =
            Core::new(config, vec![StageConfig { dispatcher, consumers: vec![consumer] }], 3);
        core.keep_in(Box::new(journal.clone()), Now(0));
        core
    }

    #[derive(Clone, Debug)]
    enum Step {
        Accept,
        Take,
        Finish {
            crash: bool,
        },
        Renew,
        /// The server is killed, and another one starts.
        Kill,
        /// The server stops, and another one starts.
        Stop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => Just(Step::Accept),
            6 => Just(Step::Take),
            5 => any::<bool>().prop_map(|crash| Step::Finish { crash }),
            1 => Just(Step::Renew),
            1 => Just(Step::Kill),
            1 => Just(Step::Stop),
        ]
    }

    fn take(core: &mut Core, calls: &mut Vec<Batch>, now: Now) -> bool {
        let mut batch = Batch::default();
        let took = core.take(StageConsumer::new(0, 0), usize::MAX, now, &mut batch) == Next::Call;
        calls.extend(took.then_some(batch));
        took
    }

    proptest! {
        #[test]
        fn what_was_accepted_ends_whatever_happens_to_the_server(
            steps in proptest::collection::vec(step(), 0..150),
        ) {
            let journal = Journal::default();
            let (mut core, mut calls, mut now) = (core(&journal), Vec::new(), 0);
            let (mut accepted, mut refused) = (0, 0);
            for step in steps {
                now += 20_000_000;
                let at = Now(now);
                match step {
                    Step::Accept => {
                        match core.accept_one(NewEvent::default(), at) {
                            Ok(()) => accepted += 1,
                            Err(_) => refused += 1,
                        }
                        core.dispatch_accepted(at);
                    }
                    Step::Take => {
                        take(&mut core, &mut calls, at);
                    }
                    Step::Finish { crash } => {
                        if let Some(batch) = calls.pop() {
                            let end = match crash {
                                true => CallEnd::Failed { reason: String::new() },
                                false => CallEnd::Answered(Vec::new()),
                            };
                            core.finish(StageConsumer::new(0, 0), &batch.deliveries, end, at);
                        }
                    }
                    Step::Renew => core.renew_leases(at),
                    Step::Stop => {
                        core.abandon(at);
                        journal.crash();
                        (core, calls) = (self::core(&journal), Vec::new());
                    }
                    Step::Kill => {
                        journal.crash();
                        (core, calls) = (self::core(&journal), Vec::new());
                    }
                }
                let totals = core.totals();
                prop_assert!(totals.is_conserved(), "{totals:?}");
                let kept = journal.0.lock().unwrap();
                prop_assert_eq!(kept.events.len() + kept.acked.len(), accepted);
            }
            // In the end all events have ended.
            for _ in 0..200 {
                now += 20_000_000;
                while take(&mut core, &mut calls, Now(now)) {}
                for batch in calls.drain(..) {
                    let end = CallEnd::Answered(Vec::new());
                    core.finish(StageConsumer::new(0, 0), &batch.deliveries, end, Now(now));
                }
                core.renew_leases(Now(now));
            }
            let kept = journal.0.lock().unwrap();
            prop_assert_eq!((kept.events.len(), kept.acked.len()), (0, accepted));
            prop_assert!(accepted <= 40, "the rest was refused: {refused}");
        }
    }
}
