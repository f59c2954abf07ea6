//! How much a thread that serves connections has to do, and when it therefore yields.

use std::cell::Cell;
use std::thread;

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { read: 0, average: 0 }) };
}

/// How much a thread has to do at a time.
#[derive(Clone, Copy)]
struct Pace {
    /// Connections that had something to read since it last waited.
    read: usize,
    /// Of the last times, in sixteenths.
    average: usize,
}

/// Connections read from between two waits, in sixteenths, from which on yielding is
/// worth its price.
const BUSY: usize = 24;

/// Says that a connection of this thread had something to read.
pub(super) fn has_read() {
    let pace = PACE.get();
    PACE.set(Pace { read: pace.read + 1, ..pace });
}

/// Called before the thread waits for the network: if it is busy, lets whoever shares
/// its core go first. There is more to read afterwards, and the next round is larger.
pub(super) fn pause() {
    let Pace { read, average } = PACE.get();
    if read == 0 {
        return;
    }
    let average = average - average / 16 + read;
    PACE.set(Pace { read: 0, average });
    if average >= BUSY {
        thread::yield_now();
    }
}
