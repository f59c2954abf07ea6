//! An instance: it serves one call at a time, and a trap is its end.

use std::sync::Arc;

use wasmtime::{Store, Trap};

use super::bindings::exports::millrace::plugin::presence_handler;
use super::dispatch::MAX_CALL_TIME;
use super::engine::EPOCH;
use super::exports::{
    BatchGuest, ChannelGuest, DispatcherGuest, DispatcherStateGuest, MigrationGuest, NeedsGuest,
    OutgoingGuest, SelfTestGuest, SocketGuest, TasksGuest, WorkerGuest,
};
use super::host::State;
use super::instance_limit::InstanceLimit;
use super::{Component, Fault, FaultKind, PluginLimits};
use crate::Need;

/// A live instance in its own store.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    pub(super) channel: Option<ChannelGuest>,
    pub(super) batch: Option<BatchGuest>,
    pub(super) outgoing: Option<OutgoingGuest>,
    pub(super) socket: Option<SocketGuest>,
    pub(super) tasks: Option<TasksGuest>,
    pub(super) worker: Option<WorkerGuest>,
    pub(super) dispatcher: Option<DispatcherGuest>,
    pub(super) dispatcher_state: Option<DispatcherStateGuest>,
    pub(super) migration: Option<MigrationGuest>,
    pub(super) self_test: Option<SelfTestGuest>,
    needs: Option<NeedsGuest>,
    pub(super) presence_handler: Option<presence_handler::Guest>,
    pub(super) limits: PluginLimits,
}

/// The fuel after which a call yields: some fifty microseconds, which is what a few messages take.
/// A call that computes for long so delays others no longer than a few messages would.
pub const SLICE_FUEL: u64 = 100_000;

/// The epochs after which a call yields, whatever its fuel. The first is the one that it began in,
/// so it has at least one whole epoch.
pub(super) const EPOCHS_PER_SLICE: u64 = 2;
/// The epochs after which a call traps that never yields.
#[expect(clippy::cast_possible_truncation, reason = "some ten")]
const EPOCHS_UNINTERRUPTED: u64 = (MAX_CALL_TIME.as_millis() / EPOCH.as_millis()) as u64 + 1;

/// The bytes by which the memory of an instance may grow and it is still used again; memory never
/// shrinks. Memory that it began with does not count, as a new instance would have it too: those of
/// interpreters begin with tens of megabytes.
const MAX_REUSED_GROWTH_BYTES: usize = 8 * 1024 * 1024;

/// The number of resource handles of WASI in one instance; a call that needs more traps.
const MAX_HANDLES: usize = 256;

impl Instance {
    /// Instantiates a component, with the fuel of one call. Its memory counts in `instance_limit`,
    /// if it is of a pool.
    pub(super) async fn new(
        component: &Component,
        instance_limit: Option<&Arc<InstanceLimit>>,
    ) -> Result<Self, Fault> {
        Self::instantiate(component, instance_limit, Some(SLICE_FUEL)).await
    }

    /// An instance whose calls run to their end without yielding; one that takes longer than
    /// [`MAX_CALL_TIME`] traps.
    pub(super) async fn uninterrupted(component: &Component) -> Result<Self, Fault> {
        Self::instantiate(component, None, None).await
    }

    async fn instantiate(
        component: &Component,
        instance_limit: Option<&Arc<InstanceLimit>>,
        slice: Option<u64>,
    ) -> Result<Self, Fault> {
        let limits = component.limits;
        let state = State::new(component.settings.clone(), &limits, instance_limit.map(Arc::clone));
        let mut store = Store::new(&component.engine.wasmtime, state);
        store.limiter_async(|state| &mut state.limiter);
        let largest_request = component.settings.egress.max_request_bytes();
        store.set_hostcall_fuel(hostcall_fuel(&limits, largest_request));
        store.set_max_component_handles(MAX_HANDLES);
        let started = async {
            store.data_mut().slice.is_uninterrupted = slice.is_none();
            store.fuel_async_yield_interval(slice)?;
            store.set_fuel(limits.fuel)?;
            // Where no fuel is used, time ends a slice, or the call.
            if slice.is_some() {
                store.epoch_deadline_async_yield_and_update(EPOCHS_PER_SLICE);
                store.set_epoch_deadline(EPOCHS_PER_SLICE);
            } else {
                store.epoch_deadline_trap();
                store.set_epoch_deadline(EPOCHS_UNINTERRUPTED);
            }
            let instance = component.pre.instantiate_async(&mut store).await?;
            Exported::load(component, &mut store, &instance)
        };
        match started.await {
            Ok(exported) => {
                let state = store.data_mut();
                state.limiter.begun();
                state.log_prints(None);
                Ok(exported.of(store, limits))
            }
            Err(error) => {
                let state = store.data();
                let (output, refused) = (state.output.take(), state.limiter.refused());
                let output = output.unwrap_or_default().text;
                Err(Fault::of_instantiation(&error, &output, refused))
            }
        }
    }

    /// Asks for the topics; none if it does not export `channel`.
    pub(super) async fn topics(&mut self) -> Result<Vec<String>, Fault> {
        self.refuel(0)?;
        match &self.channel {
            Some(guest) => {
                let topics = guest.call_topics(&mut self.store).await;
                self.ended(topics)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Asks for the events to intercept; none if it does not export `outgoing`.
    pub(super) async fn intercepts(&mut self) -> Result<Vec<String>, Fault> {
        self.refuel(0)?;
        match &self.outgoing {
            Some(guest) => {
                let intercepts = guest.call_intercepts(&mut self.store).await;
                self.ended(intercepts)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Asks for the schemas of its assigns; `None` if it does not export `migration`.
    pub(super) async fn schemas(&mut self) -> Result<Option<Vec<u32>>, Fault> {
        self.refuel(0)?;
        match &self.migration {
            Some(guest) => {
                let schemas = guest.call_schemas(&mut self.store).await;
                self.ended(schemas).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Asks for the grants that it cannot do without; none if it does not export `needs`.
    pub(super) async fn needs(&mut self) -> Result<Vec<Need>, Fault> {
        self.refuel(0)?;
        match &self.needs {
            Some(guest) => {
                let needs = guest.call_list_needs(&mut self.store).await;
                Ok(self.ended(needs)?.into_iter().map(Need::from).collect())
            }
            None => Ok(Vec::new()),
        }
    }

    /// Sets the fuel of the next call, which is handed so many bytes.
    pub(super) fn refuel(&mut self, bytes: usize) -> Result<(), Fault> {
        self.refuel_with(self.limits.fuel_for(bytes))
    }

    /// Sets the fuel of the next call, and counts its epochs anew.
    pub(super) fn refuel_with(&mut self, fuel: u64) -> Result<(), Fault> {
        let state = self.store.data_mut();
        state.fuel = fuel;
        state.slice.begin(fuel);
        let is_uninterrupted = state.slice.is_uninterrupted;
        self.store.set_epoch_deadline(if is_uninterrupted {
            EPOCHS_UNINTERRUPTED
        } else {
            EPOCHS_PER_SLICE
        });
        self.store.set_fuel(fuel).map_err(|error| fault(&mut self.store, &error))
    }

    /// Ends the bookkeeping of a call, and turns its error into a fault.
    pub(super) fn ended<T>(&mut self, result: wasmtime::Result<T>) -> Result<T, Fault> {
        let state = self.store.data_mut();
        if result.is_ok() {
            state.log_own_prints();
        }
        state.call_ended();
        result.map_err(|error| fault(&mut self.store, &error))
    }

    /// The fuel that its last call used, and the bytes of memory that it has now.
    pub(super) fn used(&self) -> (u64, usize) {
        let (left, state) = (self.store.get_fuel().unwrap_or_default(), self.store.data());
        (state.fuel.saturating_sub(left), state.limiter.used_bytes())
    }

    /// Whether it may serve another call, if the last one went well.
    pub(super) fn is_reusable(&self) -> bool {
        let grown = self.store.data().limiter.grown_bytes();
        grown <= MAX_REUSED_GROWTH_BYTES && !self.limits.fresh_instances
    }

    /// The bytes of its memory that count in the limit of all instances.
    pub(super) fn charged_bytes(&self) -> usize {
        self.store.data().limiter.charged_bytes()
    }

    /// The number of the instance, unique in the process.
    pub(super) fn number(&self) -> u64 {
        self.store.data().limiter.number()
    }
}

/// The interfaces of an instance; those that its plugin does not export are `None`.
struct Exported {
    channel: Option<ChannelGuest>,
    batch: Option<BatchGuest>,
    outgoing: Option<OutgoingGuest>,
    socket: Option<SocketGuest>,
    tasks: Option<TasksGuest>,
    worker: Option<WorkerGuest>,
    dispatcher: Option<DispatcherGuest>,
    dispatcher_state: Option<DispatcherStateGuest>,
    migration: Option<MigrationGuest>,
    self_test: Option<SelfTestGuest>,
    needs: Option<NeedsGuest>,
    presence_handler: Option<presence_handler::Guest>,
}

impl Exported {
    /// Looks up the exported functions of an instance.
    fn load(
        component: &Component,
        store: &mut Store<State>,
        instance: &wasmtime::component::Instance,
    ) -> wasmtime::Result<Self> {
        macro_rules! load {
            ($interface:ident) => {
                match &component.exports.$interface {
                    Some(indices) => Some(indices.load(&mut *store, instance)?),
                    None => None,
                }
            };
        }
        Ok(Self {
            channel: load!(channel),
            batch: load!(batch),
            outgoing: load!(outgoing),
            socket: load!(socket),
            tasks: load!(tasks),
            worker: load!(worker),
            dispatcher: load!(dispatcher),
            dispatcher_state: load!(dispatcher_state),
            migration: load!(migration),
            self_test: load!(self_test),
            needs: load!(needs),
            presence_handler: load!(presence_handler),
        })
    }

    fn of(self, store: Store<State>, limits: PluginLimits) -> Instance {
        let Self { channel, batch, outgoing, socket, tasks, worker, .. } = self;
        let Self {
            dispatcher,
            dispatcher_state,
            migration,
            self_test,
            needs,
            presence_handler,
            ..
        } = self;
        Instance {
            store,
            channel,
            batch,
            outgoing,
            socket,
            tasks,
            worker,
            dispatcher,
            dispatcher_state,
            migration,
            self_test,
            needs,
            presence_handler,
            limits,
        }
    }
}

/// The bytes that a plugin may make the host allocate in one call: all effects twice, as their
/// lists and strings count too, and a request.
fn hostcall_fuel(limits: &PluginLimits, largest_request: usize) -> usize {
    let effects = limits.max_effect_bytes.saturating_mul(2);
    let rest = limits.max_assigns_bytes.saturating_add(largest_request);
    effects.saturating_add(rest).saturating_add(1 << 20)
}

/// The fault for an error of a call.
fn fault(store: &mut Store<State>, error: &wasmtime::Error) -> Fault {
    let state = store.data();
    let output = state.output.take().unwrap_or_default();
    let unreachable = matches!(
        error.downcast_ref::<Trap>(),
        Some(Trap::UnreachableCodeReached | Trap::MemoryOutOfBounds)
    );
    let refused = state.limiter.refused().filter(|_| unreachable);
    let fault = Fault::of_call(error, &output.text, refused);
    let is_dispatchers = fault.kind == FaultKind::OutOfFuel && state.slice.is_uninterrupted;
    if fault.kind != FaultKind::Trap {
        // The message of the fault does not have what the plugin has printed, so it is logged.
        let state = store.data_mut();
        let current = state.current.take();
        state.tell(&output, current.as_ref().map(|current| current.caller.message()));
        state.current = current;
    }
    if is_dispatchers { fault.for_dispatcher() } else { fault }
}
