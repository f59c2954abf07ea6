//! How much a thread that serves connections has to do, and when it therefore yields; and
//! what time it is for it.

use std::cell::Cell;
use std::thread;

use tokio::time::Instant;

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { read: 0, average: 0, looked_at: None }) };
}

/// How much a thread has to do at a time.
#[derive(Clone, Copy)]
struct Pace {
    /// Connections that had something to read since it last waited.
    read: usize,
    /// Of the last times, in [`PARTS`].
    average: usize,
    /// When the clock was last looked at, if that was since it last waited.
    looked_at: Option<Instant>,
}

/// Of one connection, in which the average is counted.
const PARTS: usize = 256;
/// The average follows the last so many times.
const LAST: usize = 16;
/// Connections read from between two waits, one and a half, from which on yielding is
/// worth its price.
const BUSY: usize = PARTS * 3 / 2;

/// The clock is looked at for one of so many connections.
const READS_EACH_LOOK: usize = 32;

/// Says that a connection of this thread, which calls [`pause`], had something to read;
/// about when.
pub(super) fn has_read() -> Instant {
    let pace = PACE.get();
    let looked_at = pace.looked_at.filter(|_| !pace.read.is_multiple_of(READS_EACH_LOOK));
    let now = looked_at.unwrap_or_else(Instant::now);
    PACE.set(Pace { read: pace.read + 1, looked_at: Some(now), ..pace });
    now
}

/// Called before the thread waits for the network: if it is busy, lets whoever shares
/// its core go first. There is more to read afterwards, and the next round is larger.
pub(super) fn pause() {
    let Pace { read, average, .. } = PACE.get();
    if read == 0 {
        return;
    }
    let average = followed(average, read);
    PACE.set(Pace { read: 0, average, looked_at: None });
    if average >= BUSY {
        thread::yield_now();
    }
}

/// The average when there is one more, so many connections.
fn followed(average: usize, read: usize) -> usize {
    average - average / LAST + read * PARTS / LAST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_busy_while_it_has_much_to_do_at_a_time() {
        let after = |average, read| (0..200).fold(average, |average, _| followed(average, read));
        let (slow, fast) = (after(0, 1), after(0, 2));
        assert!(slow < BUSY && fast >= BUSY, "{slow} {fast}");
        // And not for ever because it once was.
        assert!(after(after(slow, 500), 1) < BUSY);
    }

    #[test]
    fn the_clock_is_looked_at_after_each_wait_and_for_one_of_many_reads() {
        let reads: Vec<_> = (0..READS_EACH_LOOK).map(|_| has_read()).collect();
        assert!(reads.iter().all(|at| *at == reads[0]));
        let later = Instant::now();
        assert!(has_read() >= later);
        let (before, waited) = (has_read(), Instant::now());
        pause();
        assert!(before <= waited && has_read() >= waited);
    }
}
