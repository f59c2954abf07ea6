//! What a plugin pays for what the host does for it, in the fuel of its call.
//!
//! A unit is some half a nanosecond. An import has a price for being called and one for
//! each byte that crosses, whichever way, so a call that has the host work for it comes
//! to its end as one that works itself, and lets others go first as often.

use std::future::poll_fn;
use std::task::Poll;

use wasmtime::{StoreContextMut, Trap};

use super::host::State;
use super::instance::{EPOCHS_PER_SLICE, SLICE_FUEL};

/// Any import: the way out of the sandbox and back, and a look at a clock or a table.
pub(super) const CALL: u64 = 200;
/// A measurement, which is kept until the call has ended.
pub(super) const MEASUREMENT: u64 = 500;
/// A log line that is written.
pub(super) const LINE: u64 = 5_000;
/// Random bytes, which the kernel makes.
pub(super) const RANDOM: u64 = 1_000;
/// One of them.
pub(super) const RANDOM_BYTE: u64 = 5;
/// What is looked up, written out or checked.
pub(super) const LOOKUP: u64 = 1_000;
/// A socket ref, which is sealed, and looked at when it comes back.
pub(super) const SEAL: u64 = 4_000;
/// What leaves the call while it runs: it is applied on the way.
pub(super) const FLUSH: u64 = 5_000;
/// A request, which is checked and sent.
pub(super) const REQUEST: u64 = 20_000;

/// The price of bytes that cross: they are copied, and texts are checked.
pub(super) fn of_bytes(bytes: usize) -> u64 {
    bytes as u64
}

/// The slice of fuel that a call is in.
///
/// wasmtime has a call let others go first after each slice since its fuel was last
/// set. A payment sets it, so a call that pays often would never come that far: what it
/// used since its slice began is counted here.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// Fuel that was left when it began.
    began: u64,
    /// Fuel that was left when it was last set.
    set: u64,
    /// It runs to its end, as nobody else can go first.
    pub(super) is_uninterrupted: bool,
}

impl Slice {
    /// A call begins with so much, or comes back from waiting.
    pub(super) fn begin(&mut self, fuel: u64) {
        (self.began, self.set) = (fuel, fuel);
    }

    /// A payment leaves `after` of `before`; whether that ends the slice.
    fn pay(&mut self, before: u64, after: u64) -> bool {
        let whole = self.set.saturating_sub(before) / SLICE_FUEL;
        if whole > 0 {
            // Others have gone first since.
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

/// Takes `price` off the call's fuel, and lets others go first when that ends a slice.
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

/// The call waited: its slice begins, and so does its time at once.
pub(super) fn waited(store: &mut StoreContextMut<'_, State>) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    let slice = &mut store.data_mut().slice;
    slice.begin(left);
    if !slice.is_uninterrupted {
        store.set_epoch_deadline(EPOCHS_PER_SLICE);
    }
    Ok(())
}

/// As wasmtime does at the end of a slice: woken before it is over, so that whoever
/// polls knows that the call computes.
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
