//! The load of a thread that serves connections, after which it yields its core, and the time that
//! it takes for now.

use std::cell::Cell;
use std::thread;

use tokio::time::Instant;

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { read: 0, average: 0, clock_read_at: None }) };
}

/// The load of a thread, measured between two waits for the network.
#[derive(Clone, Copy)]
struct Pace {
    /// The connections that had something to read since the thread last waited.
    read: usize,
    /// The moving average of `read`, in fixed point: [`FIXED_POINT_ONE`] is one connection.
    average: usize,
    /// The time when the clock was read, if that was since the thread last waited.
    clock_read_at: Option<Instant>,
}

/// The parts of one connection in which the average is counted (fixed point).
const FIXED_POINT_ONE: usize = 256;
/// The divisor of the exponential moving average: a new value counts for one in so many.
const AVERAGE_DIVISOR: usize = 16;
/// The average from which on yielding is worth its price: one and a half connections between two
/// waits.
const BUSY_AVERAGE: usize = FIXED_POINT_ONE * 3 / 2;

/// The number of connections for which the clock is read once.
const READS_PER_CLOCK: usize = 32;

/// Notes that a connection of this thread had something to read. Returns about what time it is.
pub(super) fn note_read() -> Instant {
    let pace = PACE.get();
    let clock_read_at = pace.clock_read_at.filter(|_| !pace.read.is_multiple_of(READS_PER_CLOCK));
    let now = clock_read_at.unwrap_or_else(Instant::now);
    PACE.set(Pace { read: pace.read + 1, clock_read_at: Some(now), ..pace });
    now
}

/// Called before the thread waits for the network. If the thread is busy, it lets others on its
/// core go first: then there is more to read, and the next round is larger.
pub(super) fn pause() {
    let Pace { read, average, .. } = PACE.get();
    if read == 0 {
        return;
    }
    let average = updated_average(average, read);
    PACE.set(Pace { read: 0, average, clock_read_at: None });
    if average >= BUSY_AVERAGE {
        thread::yield_now();
    }
}

/// The average after a further value.
fn updated_average(average: usize, read: usize) -> usize {
    average - average / AVERAGE_DIVISOR + read * FIXED_POINT_ONE / AVERAGE_DIVISOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_busy_while_it_has_much_to_do_at_a_time() {
        let after =
            |average, read| (0..200).fold(average, |average, _| updated_average(average, read));
        let (slow, fast) = (after(0, 1), after(0, 2));
        assert!(slow < BUSY_AVERAGE && fast >= BUSY_AVERAGE, "{slow} {fast}");
        // A thread that was busy once is not busy for ever.
        assert!(after(after(slow, 500), 1) < BUSY_AVERAGE);
    }

    #[test]
    fn the_clock_is_looked_at_after_each_wait_and_for_one_of_many_reads() {
        let reads: Vec<_> = (0..READS_PER_CLOCK).map(|_| note_read()).collect();
        assert!(reads.iter().all(|at| *at == reads[0]));
        let later = Instant::now();
        assert!(note_read() >= later);
        let (before, waited) = (note_read(), Instant::now());
        pause();
        assert!(before <= waited && note_read() >= waited);
    }
}
