//! The prices of imports: a plugin pays for the host's work in the fuel of its call.
//!
//! A unit of fuel is about half a nanosecond. An import has a price for being called and one for
//! each byte that crosses, whichever way. So a call that has the host work for it ends as one that
//! works itself, and lets others run as often.

use std::future::poll_fn;
use std::task::Poll;

use wasmtime::{StoreContextMut, Trap};

use super::host::State;
use super::instance::{EPOCHS_PER_SLICE, SLICE_FUEL};

/// The price of any import: the way out of the sandbox and back, and a look at a clock or a table.
pub(super) const CALL: u64 = 200;
/// The price of a measurement, which is kept until the call has ended.
pub(super) const MEASUREMENT: u64 = 500;
/// The price of a log line that is written.
pub(super) const LINE: u64 = 5_000;
/// The price of a request for random bytes, which the kernel makes.
pub(super) const RANDOM: u64 = 1_000;
/// The price of each random byte.
pub(super) const RANDOM_BYTE: u64 = 5;
/// The price of a value that is looked up, written out or checked.
pub(super) const LOOKUP: u64 = 1_000;
/// The price of a socket ref, which is sealed, and looked at when it comes back.
pub(super) const SEAL: u64 = 4_000;
/// The price of a flush, whose effects are applied while the call runs.
pub(super) const FLUSH: u64 = 5_000;
/// The price of an HTTP request, which is checked and sent.
pub(super) const REQUEST: u64 = 20_000;

/// The price of bytes that cross: they are copied, and texts are checked.
pub(super) fn of_bytes(bytes: usize) -> u64 {
    bytes as u64
}

/// The slice of fuel that a call is in.
///
/// Wasmtime makes a call yield after each slice since its fuel was last set. A payment sets the
/// fuel, so a call that pays often would never yield: the fuel that it used since its slice began
/// is counted here.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// The fuel that was left when the slice began.
    began: u64,
    /// The fuel that was left when it was last set.
    set: u64,
    /// Whether the call runs to its end without yielding, as a dispatcher's does.
    pub(super) is_uninterrupted: bool,
}

impl Slice {
    /// Begins a slice with this fuel: the call begins, or comes back from waiting.
    pub(super) fn begin(&mut self, fuel: u64) {
        (self.began, self.set) = (fuel, fuel);
    }

    /// Counts a payment that leaves `after` of `before` units; true if that ends the slice.
    fn pay(&mut self, before: u64, after: u64) -> bool {
        let whole = self.set.saturating_sub(before) / SLICE_FUEL;
        if whole > 0 {
            // Wasmtime has made the call yield since.
            self.began = self.set.saturating_sub(whole.saturating_mul(SLICE_FUEL));
        }
        self.set = after;
        let is_over = self.began.saturating_sub(after) >= SLICE_FUEL;
        if is_over {
            self.began = after;
        }
        is_over && !self.is_uninterrupted
    }
}

/// Takes `price` off the call's fuel, and yields if that ends a slice.
///
/// # Errors
///
/// The trap `OutOfFuel` if there is less fuel left than the price.
pub(super) async fn pay(
    store: &mut StoreContextMut<'_, State>,
    price: u64,
) -> wasmtime::Result<()> {
    let before = store.get_fuel()?;
    let Some(after) = before.checked_sub(price) else {
        store.set_fuel(0)?;
        return Err(Trap::OutOfFuel.into());
    };
    store.set_fuel(after)?;
    if store.data_mut().slice.pay(before, after) {
        yield_now().await;
    }
    Ok(())
}

/// Begins a new slice, and a new count of epochs, after the call has waited.
pub(super) fn waited(store: &mut StoreContextMut<'_, State>) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    let slice = &mut store.data_mut().slice;
    slice.begin(left);
    if !slice.is_uninterrupted {
        store.set_epoch_deadline(EPOCHS_PER_SLICE);
    }
    Ok(())
}

/// Yields as wasmtime does at the end of a slice: the waker is woken during the poll, so that the
/// scheduler knows that the call computes.
async fn yield_now() {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUEL: u64 = 10 * SLICE_FUEL;

    fn slice() -> Slice {
        let mut slice = Slice::default();
        slice.begin(FUEL);
        slice
    }

    #[test]
    fn small_payments_end_a_slice_together() {
        let (mut slice, mut left, mut ends) = (slice(), FUEL, 0);
        while left >= 1_000 {
            ends += usize::from(slice.pay(left, left - 1_000));
            left -= 1_000;
        }
        assert_eq!(ends, 10);
    }

    #[test]
    fn what_was_computed_between_payments_counts() {
        let mut slice = slice();
        assert!(!slice.pay(FUEL - 60_000, FUEL - 60_001));
        assert!(slice.pay(FUEL - 110_000, FUEL - 110_001));
    }

    #[test]
    fn slices_that_have_ended_since_do_not_count_again() {
        let mut slice = slice();
        assert!(!slice.pay(FUEL - 3 * SLICE_FUEL - 10, FUEL - 3 * SLICE_FUEL - 20));
        assert!(slice.pay(FUEL - 4 * SLICE_FUEL, FUEL - 4 * SLICE_FUEL - 1));
    }

    #[test]
    fn one_that_runs_to_its_end_has_no_slices() {
        let mut slice = slice();
        slice.is_uninterrupted = true;
        assert!(!slice.pay(FUEL, 0));
    }
}
