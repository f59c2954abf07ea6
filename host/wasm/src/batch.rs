//! Many messages in one call (`batch.handle-in`).
//!
//! The guest says what each message came to before it handles the next, so the host
//! knows at any time which one is being handled, and each is a call of its own in all
//! but the price: with its own fuel, limits, log lines and deadline. A batch whose
//! message waits is over for the messages after that one, which are handed back.
//!
//! What is shared is the instance's memory and the thread, so a batch is bounded in
//! bytes, and in fuel: for each connection, and in all. One that comes to nothing
//! before its first report says nothing about its first message, which is then made
//! again alone.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use millrace_session::channel::{
    Assigns, Caller, ChannelEffect, Completion, Effect, Outcome, Progress,
};
use millrace_wire::Payload;
use smol_str::SmolStr;
use tracing::{debug, error};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::bindings::exports::millrace::plugin::batch;
use super::bindings::millrace::plugin::types;
use super::budget::{Budget, CallKind};
use super::caught::poll_caught;
use super::encoded::EncodedBatch;
use super::fuel::{self, of_bytes};
use super::host::{Current, State};
use super::idle::PooledInstance;
use super::instance::{EPOCHS_PER_SLICE, Instance, SLICE_FUEL};
use super::instance_limit::InstanceHold;
use super::ledger::{Ledger, Reported, Upcoming};
use super::scheduler::Tick;
use super::withheld::{self, About};
use super::{Fault, Pool};

/// One message for a batch.
#[derive(Debug)]
pub struct BatchMessage<'a> {
    /// The channel and the message that the call is for.
    pub caller: &'a Caller,
    /// Where its flushed effects go.
    pub progress: &'a Arc<dyn Progress>,
    /// `None` is what the message before left, which is one of the same channel.
    pub assigns: Option<&'a Assigns>,
    /// The event of the message.
    pub event: &'a SmolStr,
    /// The payload of the message.
    pub payload: &'a Payload,
    /// Whether the message has a ref.
    pub wants_reply: bool,
    /// Fuel that its connection has used in its turn.
    pub used: u64,
}

/// What came of a message.
#[derive(Debug)]
pub struct HandledMessage {
    /// What the plugin answered, or why there is no answer.
    pub result: Result<Completion, Fault>,
    /// How long the call took, if that is measured.
    pub took: Duration,
    /// The fuel that the call used.
    pub fuel: u64,
}

/// What became of a batch.
enum Attempt {
    Progressed(BatchProgress),
    /// Nothing, and none of its messages is known to be the reason.
    Undone(Fault),
}

/// What the messages of a batch have together at most. What a batch saves, a few
/// microseconds a message, is nothing to a larger one; and a copy of it is kept for as
/// long as its last message waits.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Of what an instance may have, as lowering, parsing and answers take several times as
/// much as the messages.
const MEMORY_DIVISOR: usize = 16;
/// A fault, and the fuel and memory that were used.
type Failed = (Fault, (u64, usize));

/// How far a batch got. The messages that are in neither were not begun.
pub struct BatchProgress {
    /// Of the first messages.
    pub handled: Vec<HandledMessage>,
    /// Of the message after them, if it waits.
    pub waits: Option<PendingMessage>,
}

impl std::fmt::Debug for BatchProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchProgress").field("handled", &self.handled).finish_non_exhaustive()
    }
}

/// The end of a message that waits.
pub type PendingMessage = Pin<Box<dyn Future<Output = HandledMessage> + Send>>;

impl Pool {
    /// Whether messages can be handled together.
    pub fn takes_many(&self) -> bool {
        self.component().has_batch() && !self.component().limits.fresh_instances
    }

    /// Whether a message for a channel with these assigns can be one of a batch.
    pub fn takes(&self, topic: &str, assigns: &Assigns) -> bool {
        self.takes_many() && self.component().reads(topic, assigns)
    }

    /// What the messages of one call may have together, in bytes; a larger one has to
    /// be a call of its own. An instance has to find room for all of them before it
    /// handles the first, and for what each of them leads to.
    pub fn most_bytes(&self) -> usize {
        MAX_BATCH_BYTES.min(self.component().limits().max_memory_bytes / MEMORY_DIVISOR)
    }

    /// Has messages handled in one call, as far as none of them waits; `None` when no
    /// instance is at hand, or none may be used.
    ///
    /// Those that are in no outcome were not begun: there were too many bytes, a
    /// connection has used up its turn, or a message waits.
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
                    // Of one message alone, each end is that message's.
                    Attempt::Undone(_) => None,
                }
            }
        }
    }

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
            // It has reported, and does not come to its end; with it goes its instance.
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

    /// The end of a call whose message waits, of which no other is left.
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
            // It has ended, so it has reported.
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

    /// What was reported since the last time, and when the last of it was.
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

fn unreported() -> HandledMessage {
    let message = "`batch.handle-in` returned before it reported a message through `batched`";
    let result = Err(Fault::bad_return(message.to_owned()));
    HandledMessage { result, took: Duration::ZERO, fuel: 0 }
}

impl BatchMessage<'_> {
    /// What it takes in a batch, with what is handed over besides its payload.
    pub fn bytes(&self) -> usize {
        let assigns = self.assigns.map_or(0, |assigns| assigns.data.len());
        let names = self.caller.context.topic.len() + self.event.len();
        self.payload.len() + assigns + names
    }
}

impl Instance {
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

/// Makes `batched` known: by hand, as it sets the fuel of the next message.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut batched = linker.instance("millrace:plugin/batched@0.1.0")?;
    batched.func_wrap("done", |store, (outcome,): (types::Outcome,)| {
        let checked = |budget: &mut Budget, store: &StoreContextMut<'_, State>| {
            budget.outcome(outcome, store.data().settings())
        };
        report(store, checked).map(|go_on| (go_on,))
    })?;
    batched.func_wrap("replied", |store, (json,): (WasmList<u8>,)| {
        report(store, |budget, store| budget.replied(json.as_le_slice(store))).map(|go_on| (go_on,))
    })
}

/// Takes what the current message came to, and goes on with the next.
fn report(
    mut store: StoreContextMut<'_, State>,
    check: impl FnOnce(&mut Budget, &StoreContextMut<'_, State>) -> Result<Outcome, Fault>,
) -> wasmtime::Result<bool> {
    let Some(mut current) = store.data_mut().current.take() else { return Err(not_in_a_batch()) };
    let connection = current.caller.context.connection;
    // The trap that an error causes carries the fault to the call's end.
    let outcome = check(&mut current.budget, &store)?;
    let withheld = current.budget.take_withheld();
    withheld::tell(&withheld, store.data().settings(), About::Message(&current.caller));
    let spent = current.budget.spent_bytes();
    let stops =
        outcome.effects.iter().any(|effect| matches!(effect, Effect::Channel(ChannelEffect::Stop)));
    let left = store.get_fuel()?;
    let state = store.data_mut();
    state.log_prints(Some(current.caller.message()));
    state.call_ended();
    let Some(ledger) = &state.batch else { return Err(not_in_a_batch()) };
    let mut entries = ledger.entries();
    let fuel = state.fuel.saturating_sub(left) + fuel::CALL + of_bytes(spent);
    entries.messages += 1;
    entries.use_up(fuel);
    entries.reported.push(Reported {
        outcome,
        fuel,
        memory_bytes: state.limiter.used_bytes(),
        at: state.settings().metrics.call_clock(),
    });
    // A channel that ends has no next message.
    let next = if stops { None } else { entries.go_on(connection) };
    drop(entries);
    let Some(Upcoming { current, fuel, .. }) = next else {
        // Enough to return, without a turn in between in which no message is handled.
        state.fuel = SLICE_FUEL;
        state.slice.begin(SLICE_FUEL);
        store.set_fuel(SLICE_FUEL)?;
        return Ok(false);
    };
    state.current = Some(current);
    state.fuel = fuel;
    state.slice.begin(fuel);
    store.set_fuel(fuel)?;
    Ok(true)
}

fn not_in_a_batch() -> wasmtime::Error {
    let message = "`batched` is for the messages of `batch.handle-in`, and there is none left";
    Fault::bad_return(message.to_owned()).into()
}
