//! Many messages in one call (`batch.handle-in` in `wit/v0.2/batch.wit`).
//!
//! The guest reports what each message came to before it handles the next, so the host knows at any
//! time which one is being handled. Each message has its own fuel, limits, log lines and deadline,
//! as if it were a call of its own. If a message waits, the batch ends there, and the messages
//! after it are handed back.
//!
//! The messages share the instance's memory and the thread, so a batch is bounded in bytes, and in
//! fuel: for each connection, and in all. If a batch fails before its first report, that says
//! nothing about the first message, which is then called again alone.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use millrace_session::channel::{Assigns, Caller, Completion, Progress};
use millrace_wire::Payload;
use smol_str::SmolStr;
use tracing::{debug, error};

use super::bindings::exports::millrace::plugin::batch;
use super::budget::{Budget, CallKind};
use super::caught::poll_caught;
use super::encoded::EncodedBatch;
use super::host::Current;
use super::idle::PooledInstance;
use super::instance::{EPOCHS_PER_SLICE, Instance};
use super::instance_limit::InstanceHold;
use super::ledger::{Ledger, Reported, Upcoming};
use super::scheduler::Tick;
use super::{Fault, Pool};

/// One message of a batch.
#[derive(Debug)]
pub struct BatchMessage<'a> {
    /// The channel and the message that the call is for.
    pub caller: &'a Caller,
    /// The receiver of the effects that the call flushes.
    pub progress: &'a Arc<dyn Progress>,
    /// The assigns of the channel; `None` means those that the message before left, which is of the
    /// same channel.
    pub assigns: Option<&'a Assigns>,
    /// The event of the message.
    pub event: &'a SmolStr,
    /// The payload of the message.
    pub payload: &'a Payload,
    /// Whether the message has a ref, so that its client waits for a reply.
    pub wants_reply: bool,
    /// The fuel that its connection has used in its turn so far.
    pub used: u64,
}

/// The end of one message.
#[derive(Debug)]
pub struct HandledMessage {
    /// The answer of the plugin, or the fault.
    pub result: Result<Completion, Fault>,
    /// The duration of the call; zero if calls are not measured.
    pub took: Duration,
    /// The fuel that the call used.
    pub fuel: u64,
}

/// The end of one attempt to handle a batch.
enum Attempt {
    Progressed(BatchProgress),
    /// The batch failed before its first report, so no message is known to be the reason.
    Undone(Fault),
}

/// The bytes that the messages of a batch have together at most. What a batch saves, a few
/// microseconds a message, is nothing to a larger message; and a copy of the batch is kept for as
/// long as its last message waits.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// The part (one in so many) of an instance's memory that a batch may take: lowering, parsing and
/// answers take several times as much as the messages.
const MEMORY_DIVISOR: usize = 16;
/// A fault, and the fuel and memory that were used.
type Failed = (Fault, (u64, usize));

/// The progress of a batch. Messages that are in neither field were not begun.
pub struct BatchProgress {
    /// The messages that were handled, which are the first ones, in order.
    pub handled: Vec<HandledMessage>,
    /// The message after them, if it waits.
    pub waits: Option<PendingMessage>,
}

impl std::fmt::Debug for BatchProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchProgress").field("handled", &self.handled).finish_non_exhaustive()
    }
}

/// A message that waits: a future of its end.
pub type PendingMessage = Pin<Box<dyn Future<Output = HandledMessage> + Send>>;

impl Pool {
    /// Whether this version can handle many messages in one call.
    pub fn takes_many(&self) -> bool {
        self.component().has_batch() && !self.component().limits.fresh_instances
    }

    /// Whether a message for a channel with these assigns can be in a batch.
    pub fn takes(&self, topic: &str, assigns: &Assigns) -> bool {
        self.takes_many() && self.component().reads(topic, assigns)
    }

    /// The bytes that the messages of one batch may have together; a larger message has to be a
    /// call of its own. An instance has to find memory for all of them before it handles the first,
    /// and for what each of them leads to.
    pub fn most_bytes(&self) -> usize {
        MAX_BATCH_BYTES.min(self.component().limits().max_memory_bytes / MEMORY_DIVISOR)
    }

    /// Handles messages in one call, up to the first one that waits. `None` if no instance is idle,
    /// or none may be used.
    ///
    /// Messages that are not in the progress were not begun: the batch had too many bytes, a turn
    /// was used up, or a message before them waits.
    pub fn handle_all<'a>(
        self: Arc<Self>,
        messages: impl Iterator<Item = BatchMessage<'a>> + Clone,
        cx: &mut Context<'_>,
    ) -> Option<BatchProgress> {
        match Arc::clone(&self).attempt(messages.clone(), cx)? {
            Attempt::Progressed(progressed) => Some(progressed),
            Attempt::Undone(fault) => {
                let plugin = &self.component().settings.name;
                debug!(plugin, "a batch is made again, one by one: {fault}");
                match self.attempt(messages.take(1), cx)? {
                    Attempt::Progressed(progressed) => Some(progressed),
                    // The only message of a batch is the reason of whatever happens in it.
                    Attempt::Undone(_) => None,
                }
            }
        }
    }

    /// Makes one call for as many of the messages as fit.
    fn attempt<'a>(
        self: Arc<Self>,
        messages: impl Iterator<Item = BatchMessage<'a>>,
        cx: &mut Context<'_>,
    ) -> Option<Attempt> {
        let (begun, tick) = (self.meters.call_clock(), self.component().engine.scheduler.tick());
        let pooled = self.take_for_batch()?;
        let ledger = Arc::new(Ledger::default());
        let mut encoded = EncodedBatch::new();
        {
            let (mut entries, most) = (ledger.entries(), self.most_bytes());
            for message in messages {
                let bytes = message.bytes();
                if encoded.data.len() + bytes > most && !encoded.rows.is_empty() {
                    break;
                }
                encoded.push(&message);
                entries.upcoming.push_back(pooled.instance.upcoming(&message, bytes));
            }
        }
        let messages = encoded.rows.len();
        let instance = pooled.instance.number();
        let call = Arc::clone(&self).make(pooled, encoded, Arc::clone(&ledger));
        let mut call = Box::pin(call);
        let polled = poll_caught(&self.component().settings.name, call.as_mut(), cx);
        let polled = polled.map(|ended| ended.unwrap_or_else(|fault| Err((fault, (0, 0)))));
        let (mut handled, last) = self.reported(&ledger, begun);
        let mut waits = None;
        match polled {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err((fault, _)))
                if handled.is_empty() && messages > 1 && !ledger.entries().has_flushed =>
            {
                return Some(Attempt::Undone(fault));
            }
            Poll::Ready(Err(failed)) if handled.len() < messages => {
                handled.push(self.failed(failed, &ledger, last));
            }
            Poll::Ready(Err((fault, _))) => {
                self.faulted(&fault, &ledger.went_well().2);
                let plugin = &self.component().settings.name;
                let details = fault.details();
                error!(plugin, details, "a call failed after its last message: {}", fault.message);
            }
            // It has reported its last message but does not return; dropping it ends its instance.
            Poll::Pending if !ledger.entries().is_in_hand => {}
            Poll::Pending => {
                ledger.entries().upcoming.clear();
                let hold = self.hold(&ledger.went_well().2);
                let end: PendingMessage =
                    Box::pin(self.wait_for(call, ledger, last, (hold, instance, tick)));
                waits = Some(end);
            }
        }
        Some(Attempt::Progressed(BatchProgress { handled, waits }))
    }

    /// Runs the call, and gives its instance back if it went well.
    async fn make(
        self: Arc<Self>,
        mut pooled: Box<PooledInstance>,
        encoded: EncodedBatch,
        ledger: Arc<Ledger>,
    ) -> Result<(), Failed> {
        match pooled.instance.handle_all(&encoded, Arc::clone(&ledger)).await {
            Ok(()) => {
                let (messages, has_blameless, _) = ledger.went_well();
                self.give_back_after(messages, has_blameless, pooled);
                Ok(())
            }
            Err(fault) => {
                let (messages, has_blameless, _) = ledger.went_well();
                self.succeeded(messages, has_blameless);
                Err((fault, pooled.instance.used()))
            }
        }
    }

    /// Waits for the end of a call whose last message waits.
    async fn wait_for(
        self: Arc<Self>,
        mut call: Pin<Box<impl Future<Output = Result<(), Failed>>>>,
        ledger: Arc<Ledger>,
        since: Option<Instant>,
        (_hold, instance, begun): (InstanceHold, u64, Tick),
    ) -> HandledMessage {
        let limit = Duration::from_millis(self.component().limits().call_timeout_ms);
        let name = &self.component().settings.name;
        let caught = pin!(poll_fn(|cx| poll_caught(name, call.as_mut(), cx)));
        match self.component().engine.scheduler.run_in_turns(limit, begun, caught).await {
            // The call has returned, so it has reported the message.
            Some(Ok(Ok(()))) => self.reported(&ledger, since).0.pop().unwrap_or_else(unreported),
            Some(Ok(Err(failed))) => self.failed(failed, &ledger, since),
            Some(Err(fault)) => self.failed((fault, (0, 0)), &ledger, since),
            None => {
                let fault = match self.lacks_memory(instance) {
                    true => Fault::overloaded(limit, "call_timeout_ms"),
                    false => Fault::deadline(limit, "call_timeout_ms"),
                };
                self.faulted(&fault, &ledger.went_well().2);
                let took = since.map_or(Duration::ZERO, |since| since.elapsed());
                HandledMessage { result: Err(fault), took, fuel: 0 }
            }
        }
    }

    /// Ends the message at which a batch failed.
    fn failed(
        &self,
        (fault, used): Failed,
        ledger: &Ledger,
        since: Option<Instant>,
    ) -> HandledMessage {
        self.faulted(&fault, &ledger.went_well().2);
        let (fuel, memory_bytes) = used;
        let mut took = Duration::ZERO;
        if let Some(since) = since {
            took = since.elapsed();
            self.meters.called(took, fuel, memory_bytes);
        }
        HandledMessage { result: Err(fault), took, fuel }
    }

    /// Takes the messages that were reported since the last call of this, and the time of the last
    /// of them. Each is measured from the report before it, the first from `since`.
    fn reported(
        &self,
        ledger: &Ledger,
        since: Option<Instant>,
    ) -> (Vec<HandledMessage>, Option<Instant>) {
        let reported = std::mem::take(&mut ledger.entries().reported);
        let mut last = since;
        let handled = reported.into_iter().map(|reported| {
            let Reported { outcome, fuel, memory_bytes, at } = reported;
            let mut took = Duration::ZERO;
            if let (Some(begun), Some(ended)) = (last, at) {
                took = ended.duration_since(begun);
                self.meters.called(took, fuel, memory_bytes);
                last = at;
            }
            let completion = Completion::Handled(outcome);
            if completion.is_error() {
                self.answered_error();
            }
            HandledMessage { result: Ok(completion), took, fuel }
        });
        (handled.collect(), last)
    }
}

/// The fault of a guest that returned before it reported its message.
fn unreported() -> HandledMessage {
    let message = "`batch.handle-in` returned before it reported a message through `batched`";
    let result = Err(Fault::bad_return(message.to_owned()));
    HandledMessage { result, took: Duration::ZERO, fuel: 0 }
}

impl BatchMessage<'_> {
    /// The bytes that it takes in a batch: payload, assigns, topic and event.
    pub fn bytes(&self) -> usize {
        let assigns = self.assigns.map_or(0, |assigns| assigns.data.len());
        let names = self.caller.context.topic.len() + self.event.len();
        self.payload.len() + assigns + names
    }
}

impl Instance {
    /// A message with its limits and fuel.
    fn upcoming(&self, message: &BatchMessage<'_>, bytes: usize) -> Upcoming {
        let budget = Budget::new(&self.limits, CallKind::Message, self.tasks.is_some());
        let budget = budget.handed(Some(message.payload));
        let (caller, progress) = (message.caller.clone(), Arc::clone(message.progress));
        Upcoming {
            current: Current { caller, progress, budget },
            fuel: self.limits.fuel_for(bytes),
            used: message.used,
        }
    }

    async fn handle_all(
        &mut self,
        encoded: &EncodedBatch,
        ledger: Arc<Ledger>,
    ) -> Result<(), Fault> {
        let Some(guest) = &self.batch else {
            return Err(Fault::bad_return("the plugin does not export `batch`".to_owned()));
        };
        let Some(Upcoming { current, fuel, .. }) = ledger.entries().begin() else { return Ok(()) };
        let state = self.store.data_mut();
        state.current = Some(current);
        state.batch = Some(ledger);
        state.fuel = fuel;
        state.slice.begin(fuel);
        self.store.set_epoch_deadline(EPOCHS_PER_SLICE);
        let messages = batch::Messages { data: &encoded.data, rows: encoded.rows.as_flattened() };
        let returned = match self.store.set_fuel(fuel) {
            Ok(()) => guest.call_handle_in(&mut self.store, messages).await,
            Err(error) => Err(error),
        };
        let state = self.store.data_mut();
        state.batch = None;
        let is_unreported = state.current.take().is_some();
        self.ended(returned)?;
        if is_unreported { unreported().result.map(|_| ()) } else { Ok(()) }
    }
}
