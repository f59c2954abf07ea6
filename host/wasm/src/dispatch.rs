//! Dispatchers that are plugins: one instance for one stage of a pipeline.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millrace_pipeline::{
    Assignment, Columns, ConsumerId, DispatchError, Dispatcher, EventId, Offer, Standby,
    Subscription,
};

use super::bindings::exports::millrace::plugin::dispatcher as interface;
use super::caught::poll_caught;
use super::exports::DispatcherGuest;
use super::instance::Instance;
use super::{Component, Fault};

/// A dispatcher in an instance of its own.
///
/// Its calls are made under the pipeline's lock: they run to their end, one that would wait is a
/// fault, and they have fuel and time of their own, much less than other calls
/// (`limits.dispatcher_fuel`).
pub struct GuestDispatcher {
    name: String,
    instance: Instance,
    columns: Columns,
    /// The demand of consumers, for the next call.
    asks: Vec<interface::Ask>,
    /// The number of events that it was offered and has not assigned.
    waiting: usize,
}

/// A version of a dispatcher that is not running.
#[derive(Clone, Debug)]
pub struct GuestStandby(pub Component);

impl std::fmt::Debug for GuestDispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestDispatcher").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Standby for GuestStandby {
    fn name(&self) -> &str {
        &self.0.settings.name
    }

    fn start(&self) -> Result<Box<dyn Dispatcher>, DispatchError> {
        GuestDispatcher::new(&self.0).map(|dispatcher| Box::new(dispatcher) as _)
    }
}

impl GuestDispatcher {
    /// Starts a dispatcher; its `init` says which columns it wants.
    ///
    /// # Errors
    ///
    /// The dispatcher is not exported, its instance could not be made, or its `init` failed.
    pub fn new(component: &Component) -> Result<Self, DispatchError> {
        let name = format!("{} {}", component.settings.name, component.version());
        let instance = poll_once(&name, Instance::uninterrupted(component))?.map_err(failed)?;
        let (nothing, asks) = (Columns::default(), Vec::new());
        let mut dispatcher = Self { name, instance, columns: nothing, asks, waiting: 0 };
        let init = dispatcher.call(0, 0, async |guest, store| guest.call_init(store).await)?;
        let columns = init.map_err(|error| DispatchError::Failed(format!("its init: {error}")))?;
        dispatcher.columns = native_columns(columns);
        Ok(dispatcher)
    }

    /// Makes one call that is handed `rows` rows and `bytes` other bytes, which add to its fuel.
    fn call<T>(
        &mut self,
        rows: usize,
        bytes: usize,
        call: impl AsyncFnOnce(
            &DispatcherGuest,
            &mut wasmtime::Store<super::host::State>,
        ) -> wasmtime::Result<T>,
    ) -> Result<T, DispatchError> {
        let fuel = self.instance.limits.dispatcher_fuel_for(rows, bytes, self.waiting);
        self.instance.refuel_with(fuel).map_err(failed)?;
        let Some(guest) = &self.instance.dispatcher else {
            return Err(DispatchError::Failed(
                "it does not export `dispatcher`; name a plugin that does".to_owned(),
            ));
        };
        let result = poll_once(&self.name, call(guest, &mut self.instance.store))?;
        self.instance.ended(result).map_err(failed)
    }
}

impl Dispatcher for GuestDispatcher {
    fn name(&self) -> &str {
        &self.name
    }

    fn subscribe(
        &mut self,
        consumer: ConsumerId,
        options: &Subscription,
    ) -> Result<(), DispatchError> {
        let joining = interface::Consumer {
            id: consumer.0,
            worker: &options.worker,
            max_demand: options.max_demand,
        };
        self.call(1, 0, async |guest, store| guest.call_subscribe(store, joining).await)
    }

    fn cancel(&mut self, consumer: ConsumerId) -> Result<(), DispatchError> {
        self.asks.retain(|ask| ask.consumer != consumer.0);
        self.call(1, 0, async |guest, store| guest.call_cancel(store, consumer.0).await)
    }

    fn ask(&mut self, consumer: ConsumerId, demand: u32) -> Result<(), DispatchError> {
        self.asks.push(interface::Ask { consumer: consumer.0, demand });
        Ok(())
    }

    fn dispatch(
        &mut self,
        offer: &Offer,
        assigned: &mut Vec<Assignment>,
    ) -> Result<(), DispatchError> {
        let numbers = |events: &[EventId]| events.iter().map(|event| event.get()).collect();
        let (events, withdrawn): (Vec<u64>, Vec<u64>) =
            (numbers(&offer.events), numbers(&offer.withdrawn));
        let finished: Vec<u64> = numbers(&offer.finished);
        let asks = std::mem::take(&mut self.asks);
        let handed = interface::Offer {
            now_ns: offer.now.0,
            asks: &asks,
            events: &events,
            keys: &offer.keys,
            key_texts: &offer.key_texts,
            key_ends: &offer.key_ends,
            sizes: &offer.sizes,
            priorities: &offer.priorities,
            times_ns: &offer.times,
            withdrawn: &withdrawn,
            withdrawn_keys: &offer.withdrawn_keys,
            finished: &finished,
        };
        let rows = events.len() + withdrawn.len() + finished.len() + asks.len();
        let bytes = offer.key_texts.len();
        self.waiting = self.waiting.saturating_add(events.len()).saturating_sub(withdrawn.len());
        let answer =
            self.call(rows, bytes, async |guest, store| guest.call_dispatch(store, handed).await)?;
        let interface::Assignments { events, consumers } = answer;
        if events.len() != consumers.len() {
            let (events, consumers) = (events.len(), consumers.len());
            let problem = format!("it answered with {events} events and {consumers} consumers");
            return Err(DispatchError::Failed(problem));
        }
        self.waiting = self.waiting.saturating_sub(events.len());
        for (event, consumer) in events.into_iter().zip(consumers) {
            let Some(event) = EventId::from_number(event) else {
                return Err(DispatchError::NotOffered(event));
            };
            assigned.push(Assignment { event, consumer: ConsumerId(consumer) });
        }
        Ok(())
    }

    fn columns(&self) -> Columns {
        self.columns
    }

    fn is_guest(&self) -> bool {
        true
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        let guest = self.instance.dispatcher_state.clone()?;
        // It writes out the events that wait, so these are its rows.
        let fuel = self.instance.limits.dispatcher_fuel_for(self.waiting, 0, self.waiting);
        self.instance.refuel_with(fuel).ok()?;
        let state = poll_once(&self.name, guest.call_snapshot(&mut self.instance.store)).ok()?;
        self.instance.ended(state).ok()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), DispatchError> {
        let Some(guest) = self.instance.dispatcher_state.clone() else { return Ok(()) };
        let fuel = self.instance.limits.dispatcher_fuel_for(0, state.len(), self.waiting);
        self.instance.refuel_with(fuel).map_err(failed)?;
        let restored = poll_once(&self.name, guest.call_restore(&mut self.instance.store, state))?;
        self.instance.ended(restored).map_err(failed)
    }
}

/// The longest time of a call, whatever its fuel: its pipeline stands still meanwhile. One that
/// takes longer traps.
pub(super) const MAX_CALL_TIME: Duration = Duration::from_millis(100);

fn native_columns(columns: interface::Columns) -> Columns {
    let wanted = |column| columns.contains(column);
    Columns {
        keys: wanted(interface::Columns::KEYS),
        key_texts: wanted(interface::Columns::KEY_TEXTS),
        sizes: wanted(interface::Columns::SIZES),
        priorities: wanted(interface::Columns::PRIORITIES),
        times: wanted(interface::Columns::TIMES),
        selected: false,
        finished: wanted(interface::Columns::FINISHED),
    }
}

/// Polls a call once; one that would wait is an error.
fn poll_once<T>(name: &str, call: impl Future<Output = T>) -> Result<T, DispatchError> {
    match poll_caught(name, pin!(call), &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value.map_err(failed),
        Poll::Pending => {
            Err(DispatchError::Failed("it waited, which a dispatcher may not".to_owned()))
        }
    }
}

fn failed(fault: Fault) -> DispatchError {
    DispatchError::Failed(fault.message)
}
