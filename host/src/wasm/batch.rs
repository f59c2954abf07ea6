//! Many messages in one call (`batch.handle-in`).
//!
//! The guest says what each message came to before it handles the next, so the host
//! knows at any time which one is being handled, and each is a call of its own in all
//! but the price: with its own fuel, limits, log lines and deadline. A batch whose
//! message waits is over for the messages after that one, which are handed back.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use tracing::error;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::bindings::exports::millrace::plugin::batch;
use super::bindings::millrace::plugin::types;
use super::budget::{Budget, CallKind};
use super::host::{Current, State};
use super::instance::Instance;
use super::party::Party;
use super::room::Hold;
use super::shelf::Taken;
use super::{Fault, Pool};
use crate::channel::{Assigns, Caller, Completion, Effect, Outcome, Progress};
use crate::wire::Payload;

/// One message for a batch.
#[derive(Debug)]
pub(crate) struct BatchMessage<'a> {
    pub(crate) caller: &'a Caller,
    /// Where its flushed effects go.
    pub(crate) progress: &'a Arc<dyn Progress>,
    /// `None` is what the message before left, which is one of the same channel.
    pub(crate) assigns: Option<&'a Assigns>,
    pub(crate) event: &'a SmolStr,
    pub(crate) payload: &'a Payload,
    pub(crate) wants_reply: bool,
}

/// What came of a message, and how long it took if that is measured.
pub(crate) type Handled = (Result<Completion, Fault>, Duration);

/// A fault, and the fuel and memory that were used.
type Failed = (Fault, (u64, usize));

/// How far a batch got. The messages that are in neither were not begun.
pub(crate) struct Progressed {
    /// Of the first messages.
    pub(crate) handled: Vec<Handled>,
    /// Of the message after them, if it waits.
    pub(crate) waits: Option<Waits>,
}

/// The end of a message that waits.
pub(crate) type Waits = Pin<Box<dyn Future<Output = Handled> + Send>>;

/// Where the batch that is handled stands: shared by its call and who waits for it.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    upcoming: VecDeque<Upcoming>,
    reported: Vec<Reported>,
    /// How many there were in all.
    messages: u64,
    /// Whose message is being handled.
    party: Party,
    /// Whether one that was reported was of a connection that has made no fault.
    has_blameless: bool,
}

/// A message that has not been begun.
struct Upcoming {
    current: Current,
    fuel: u64,
}

/// What the guest said of a message.
struct Reported {
    outcome: Outcome,
    fuel: u64,
    memory_bytes: usize,
    at: Option<Instant>,
}

/// What goes across.
#[derive(Default)]
struct Encoded {
    data: Vec<u8>,
    rows: Vec<[u64; 9]>,
}

/// What the third number of a row is made of.
const WANTS_REPLY: u64 = 1;
const BINARY: u64 = 2;
const HAS_USER_ID: u64 = 4;
const SAME_CHANNEL: u64 = 8;

impl Pool {
    /// Whether messages can be handled together.
    pub(crate) fn takes_many(&self) -> bool {
        self.component().has_batch() && !self.component().limits.fresh_instances
    }

    /// Whether a message for a channel with these assigns can be one of a batch.
    pub(crate) fn takes(&self, topic: &str, assigns: &Assigns) -> bool {
        self.takes_many() && self.component().reads(topic, assigns)
    }

    /// Has messages handled in one call, as far as none of them waits; `None` when no
    /// instance is at hand, or none may be used.
    pub(crate) fn handle_all<'a>(
        self: Arc<Self>,
        messages: impl Iterator<Item = BatchMessage<'a>>,
        cx: &mut Context<'_>,
    ) -> Option<Progressed> {
        let begun = self.meters.now();
        let taken = self.take_for_many()?;
        let ledger = Arc::new(Ledger::default());
        let mut encoded = Encoded::default();
        {
            let mut entries = ledger.entries();
            for message in messages {
                encoded.push(&message);
                entries.upcoming.push_back(taken.instance.upcoming(&message));
            }
        }
        let messages = encoded.rows.len();
        let instance = taken.instance.number();
        let call = Arc::clone(&self).make(taken, encoded, Arc::clone(&ledger));
        let mut call = Box::pin(call);
        let polled = call.as_mut().poll(cx);
        let (mut handled, last) = self.reported(&ledger, begun);
        match polled {
            Poll::Ready(Ok(())) => Some(Progressed { handled, waits: None }),
            Poll::Ready(Err(failed)) if handled.len() < messages => {
                handled.push(self.failed(failed, last));
                Some(Progressed { handled, waits: None })
            }
            Poll::Ready(Err((fault, _))) => {
                let plugin = &self.component().settings.name;
                error!(plugin, "a call failed after its last message: {fault}");
                Some(Progressed { handled, waits: None })
            }
            Poll::Pending => {
                ledger.entries().upcoming.clear();
                let hold = self.hold(&ledger.went_well().2);
                let waits = Box::pin(self.wait_for(call, ledger, last, (hold, instance)));
                Some(Progressed { handled, waits: Some(waits) })
            }
        }
    }

    async fn make(
        self: Arc<Self>,
        mut taken: Box<Taken>,
        encoded: Encoded,
        ledger: Arc<Ledger>,
    ) -> Result<(), Failed> {
        match taken.instance.handle_all(&encoded, Arc::clone(&ledger)).await {
            Ok(()) => {
                let (messages, has_blameless, _) = ledger.went_well();
                self.give_back_after(messages, has_blameless, taken);
                Ok(())
            }
            Err(fault) => {
                let (messages, has_blameless, party) = ledger.went_well();
                self.succeeded(messages, has_blameless);
                self.faulted(&fault, &party);
                Err((fault, taken.instance.used()))
            }
        }
    }

    /// The end of a call whose message waits, of which no other is left.
    async fn wait_for(
        self: Arc<Self>,
        mut call: Pin<Box<impl Future<Output = Result<(), Failed>>>>,
        ledger: Arc<Ledger>,
        since: Option<Instant>,
        (_hold, instance): (Hold, u64),
    ) -> Handled {
        let limit = Duration::from_millis(self.component().limits().call_timeout_ms);
        match self.component().engine.turns.slowly(limit, call.as_mut()).await {
            // It has ended, so it has reported.
            Some(Ok(())) => self.reported(&ledger, since).0.pop().unwrap_or_else(unreported),
            Some(Err(failed)) => self.failed(failed, since),
            None => {
                let fault = match self.lacks_memory(instance) {
                    true => Fault::overloaded(limit, "call_timeout_ms"),
                    false => Fault::deadline(limit, "call_timeout_ms"),
                };
                self.faulted(&fault, &ledger.went_well().2);
                (Err(fault), since.map_or(Duration::ZERO, |since| since.elapsed()))
            }
        }
    }

    fn failed(&self, (fault, used): Failed, since: Option<Instant>) -> Handled {
        let Some(since) = since else { return (Err(fault), Duration::ZERO) };
        let (took, (fuel, memory_bytes)) = (since.elapsed(), used);
        self.meters.called(took, fuel, memory_bytes);
        (Err(fault), took)
    }

    /// What was reported since the last time, and when the last of it was.
    fn reported(&self, ledger: &Ledger, since: Option<Instant>) -> (Vec<Handled>, Option<Instant>) {
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
            (Ok(completion), took)
        });
        (handled.collect(), last)
    }
}

fn unreported() -> Handled {
    let message = "`batch.handle-in` returned before it reported a message through `batched`";
    (Err(Fault::bad_return(message.to_owned())), Duration::ZERO)
}

impl Instance {
    fn upcoming(&self, message: &BatchMessage<'_>) -> Upcoming {
        let assigns = message.assigns.map_or(0, |assigns| assigns.data.len());
        let budget = Budget::new(&self.limits, CallKind::Message, self.tasks.is_some());
        let budget = budget.granted(self.store.data().settings()).handed(Some(message.payload));
        let (caller, progress) = (message.caller.clone(), Arc::clone(message.progress));
        Upcoming {
            current: Current { caller, progress, budget },
            fuel: self.limits.fuel_for(assigns + message.payload.len()),
        }
    }

    async fn handle_all(&mut self, encoded: &Encoded, ledger: Arc<Ledger>) -> Result<(), Fault> {
        let Some(guest) = &self.batch else {
            return Err(Fault::bad_return("the plugin does not export `batch`".to_owned()));
        };
        let Some(Upcoming { current, fuel }) = ledger.next() else { return Ok(()) };
        let state = self.store.data_mut();
        state.current = Some(current);
        state.batch = Some(ledger);
        state.fuel = fuel;
        let messages = batch::Messages { data: &encoded.data, rows: encoded.rows.as_flattened() };
        let returned = match self.store.set_fuel(fuel) {
            Ok(()) => guest.call_handle_in(&mut self.store, messages).await,
            Err(error) => Err(error),
        };
        let state = self.store.data_mut();
        state.batch = None;
        let is_unreported = state.current.take().is_some();
        self.ended(returned)?;
        if is_unreported { unreported().0.map(|_| ()) } else { Ok(()) }
    }
}

impl Encoded {
    fn push(&mut self, message: &BatchMessage<'_>) {
        let context = &message.caller.context;
        let mut marks = 0;
        let mut ends = [0; 5];
        let parts = match message.assigns {
            Some(assigns) => {
                let user_id = context.user_id.as_deref();
                marks |= if user_id.is_some() { HAS_USER_ID } else { 0 };
                [context.topic.as_bytes(), user_id.unwrap_or_default().as_bytes(), &assigns.data]
            }
            None => {
                marks |= SAME_CHANNEL;
                [[].as_slice(); 3]
            }
        };
        let payload = match message.payload {
            Payload::Json(text) => text.as_bytes(),
            Payload::Binary(bytes) => {
                marks |= BINARY;
                bytes
            }
        };
        marks |= if message.wants_reply { WANTS_REPLY } else { 0 };
        let [topic, user_id, assigns] = parts;
        let parts = [topic, user_id, assigns, message.event.as_bytes(), payload];
        for (end, part) in ends.iter_mut().zip(parts) {
            self.data.extend_from_slice(part);
            *end = self.data.len() as u64;
        }
        let schema = message.assigns.map_or(0, |assigns| assigns.schema);
        let [topic, user_id, assigns, event, payload] = ends;
        let (connection, channel) = (context.connection, context.channel);
        let schema = schema.into();
        let row = [connection, channel, marks, schema, topic, user_id, assigns, event, payload];
        self.rows.push(row);
    }
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Upcoming> {
        self.entries().next()
    }

    /// How many messages went well, whether one was of a connection that has made no
    /// fault, and whose is the one after them.
    fn went_well(&self) -> (u64, bool, Party) {
        let entries = self.entries();
        (entries.messages, entries.has_blameless, entries.party)
    }
}

impl Entries {
    fn next(&mut self) -> Option<Upcoming> {
        let next = self.upcoming.pop_front()?;
        self.party = Party::connection(&next.current.caller, &*next.current.progress);
        Some(next)
    }
}

/// Makes `batched` known: by hand, as it sets the fuel of the next message.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut batched = linker.instance("millrace:plugin/batched@0.1.0")?;
    batched.func_wrap("done", |store, (outcome,): (types::Outcome,)| {
        report(store, |budget, _| budget.outcome(outcome)).map(|go_on| (go_on,))
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
    // The trap that an error causes carries the fault to the call's end.
    let outcome = check(&mut current.budget, &store)?;
    let stops = outcome.effects.iter().any(|effect| matches!(effect, Effect::Stop));
    let left = store.get_fuel()?;
    let state = store.data_mut();
    state.call_ended();
    let Some(ledger) = &state.batch else { return Err(not_in_a_batch()) };
    let mut entries = ledger.entries();
    entries.messages += 1;
    entries.has_blameless |= !entries.party.has_faulted;
    entries.reported.push(Reported {
        outcome,
        fuel: state.fuel.saturating_sub(left),
        memory_bytes: state.limiter.used_bytes(),
        at: state.settings().metrics.now(),
    });
    // A channel that ends has no next message.
    let next = if stops { None } else { entries.next() };
    drop(entries);
    let Some(Upcoming { current, fuel }) = next else { return Ok(false) };
    state.current = Some(current);
    state.fuel = fuel;
    store.set_fuel(fuel)?;
    Ok(true)
}

fn not_in_a_batch() -> wasmtime::Error {
    let message = "`batched` is for the messages of `batch.handle-in`, and there is none left";
    Fault::bad_return(message.to_owned()).into()
}
