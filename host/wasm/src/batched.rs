//! The import `batched`, by which a guest reports the messages of a batch one by one
//! (`wit/v0.2/batch.wit`).

use millrace_session::channel::{ChannelEffect, Effect, Outcome};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, WasmList};

use super::Fault;
use super::bindings::millrace::plugin::types;
use super::bindings::v0_1::types as types_0_1;
use super::budget::Budget;
use super::fuel::{self, of_bytes};
use super::host::State;
use super::instance::SLICE_FUEL;
use super::ledger::{Reported, Upcoming};
use super::withheld::{self, About};

/// Adds the import `batched` to the linker, for each track of the interface: by hand, as it sets
/// the fuel of the next message.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    add::<types::Outcome>(&mut linker.instance("millrace:plugin/batched@0.2.0")?)?;
    add::<types_0_1::Outcome>(&mut linker.instance("millrace:plugin/batched@0.1.0")?)
}

fn add<O>(batched: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()>
where
    O: ComponentType + Lift + Into<types::Outcome> + Send + 'static,
{
    batched.func_wrap("done", |store, (outcome,): (O,)| {
        let checked = |budget: &mut Budget, store: &StoreContextMut<'_, State>| {
            budget.outcome(outcome.into(), store.data().settings())
        };
        report(store, checked).map(|go_on| (go_on,))
    })?;
    batched.func_wrap("replied", |store, (json,): (WasmList<u8>,)| {
        report(store, |budget, store| budget.replied(json.as_le_slice(store))).map(|go_on| (go_on,))
    })
}

/// Takes the outcome of the current message and begins the next one; false if the guest has to
/// return.
fn report(
    mut store: StoreContextMut<'_, State>,
    check: impl FnOnce(&mut Budget, &StoreContextMut<'_, State>) -> Result<Outcome, Fault>,
) -> wasmtime::Result<bool> {
    let Some(mut current) = store.data_mut().current.take() else { return Err(not_in_a_batch()) };
    let connection = current.caller.context.connection;
    // An error becomes a trap, which carries the fault to the end of the call.
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
    // A channel that stops gets no next message.
    let next = if stops { None } else { entries.go_on(connection) };
    drop(entries);
    let Some(Upcoming { current, fuel, .. }) = next else {
        // This is enough fuel to return without letting others run, while no message is handled.
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

/// The error for a call of `batched` when no message is being handled.
fn not_in_a_batch() -> wasmtime::Error {
    let message = "`batched` is for the messages of `batch.handle-in`, and there is none left";
    Fault::bad_return(message.to_owned()).into()
}
