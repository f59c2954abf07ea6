//! The test whether a figure has left its last quarter of an hour.
//!
//! Levels are compared as logarithms, as most figures vary by a share of themselves: twice and half
//! are equally far from what is usual. The centre is the median and the spread the median distance
//! from it (MAD), which a few odd steps do not move.

use std::collections::VecDeque;

/// The distance of two levels of a figure from which on it matters, in the figure's unit. It is
/// also added to both levels before they are compared, so that nothing is compared with zero.
pub(super) type Floor = f64;

/// The last quarter of an hour of one figure, and whether the figure has left it.
#[derive(Debug)]
pub(super) struct Watch {
    floor: Floor,
    /// Whether levels below the usual are as noteworthy as those above.
    is_two_sided: bool,
    /// The levels of the steps, the oldest first; the last ones are judged. `None` where nothing
    /// was measured.
    steps: VecDeque<Option<f64>>,
    mark: Option<Mark>,
}

/// The mark of a figure that has left its last quarter of an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) side: Side,
    /// The levels that were usual before; they do not change while the figure is marked.
    pub(super) usual: Usual,
    /// The level now: the farthest of the judged ones.
    pub(super) now: f64,
    steps: usize,
}

/// The side of the usual levels on which a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Above,
    Below,
}

/// The levels that are usual for a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual {
    pub(super) centre: f64,
    /// The highest of all levels.
    pub(super) max: f64,
    /// The distance that the logarithm of a level may have from the centre's.
    tolerance: f64,
    /// The highest and lowest levels that lasted as long as one that is judged: a job that runs
    /// every few minutes is no news.
    kept: (f64, f64),
}

/// The number of steps in a quarter of an hour.
pub(super) const MAX_STEPS: usize = 60;
/// The length of a step in seconds.
pub(super) const STEP_SECONDS: f64 = 15.0;
/// The number of steps with a level that are needed before one is judged: five minutes.
const MIN_STEPS: usize = 20;
/// The number of steps in a row that have to be unusual: a single spike says nothing.
const IN_A_ROW: usize = 2;
/// The number of spreads that a level has to be away from the centre.
const SPREADS: f64 = 4.0;
/// The factor from the usual: a level has to be at least this many times it, or at most one part in
/// so many.
const FACTOR: f64 = 2.0;
/// The factor from the median distance to the standard deviation of normally distributed noise.
const MAD_TO_DEVIATION: f64 = 1.4826;

impl Watch {
    pub(super) fn new(floor: Floor, is_two_sided: bool) -> Self {
        let steps = VecDeque::with_capacity(MAX_STEPS + IN_A_ROW);
        Self { floor, is_two_sided, steps, mark: None }
    }

    /// Takes the level of the next step: the mark begins, stays or ends. It ends when the figure is
    /// back, or has been elsewhere for a quarter of an hour, which is usual then.
    pub(super) fn step(&mut self, level: Option<f64>) {
        if self.steps.len() >= MAX_STEPS + IN_A_ROW {
            self.steps.pop_front();
        }
        self.steps.push_back(level);
        self.mark = match self.mark {
            Some(mark) => self.still(mark),
            None => self.begun(),
        };
    }

    /// The mark, if the figure has left its last quarter of an hour.
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// The mark that begins now, if all judged levels are unusual.
    fn begun(&self) -> Option<Mark> {
        let before = self.steps.len().checked_sub(IN_A_ROW)?;
        let usual = Usual::of(self.steps.iter().take(before).copied(), self.floor)?;
        let sides = [Side::Above, Side::Below].into_iter();
        let mut possible = sides.take(if self.is_two_sided { 2 } else { 1 });
        let all = |side: &Side| {
            self.judged().all(|level| level.is_some_and(|l| usual.left(*side, l, self.floor)))
        };
        let side = possible.find(all)?;
        Some(Mark { side, usual, now: self.outermost(side)?, steps: 0 })
    }

    /// The mark if it goes on.
    fn still(&self, mark: Mark) -> Option<Mark> {
        let left = |level| mark.usual.left(mark.side, level, self.floor);
        let is_back = !self.judged().flatten().any(left);
        let (steps, now) = (mark.steps + 1, self.outermost(mark.side)?);
        (!is_back && steps < MAX_STEPS).then_some(Mark { steps, now, ..mark })
    }

    /// The levels that are judged, the last first.
    fn judged(&self) -> impl Iterator<Item = Option<f64>> {
        self.steps.iter().rev().take(IN_A_ROW).copied()
    }

    /// The judged level that is farthest out.
    fn outermost(&self, side: Side) -> Option<f64> {
        let levels = self.judged().flatten();
        match side {
            Side::Above => levels.reduce(f64::max),
            Side::Below => levels.reduce(f64::min),
        }
    }
}

impl Usual {
    fn of(steps: impl Iterator<Item = Option<f64>>, floor: Floor) -> Option<Self> {
        let steps: Vec<_> = steps.collect();
        let mut levels: Vec<_> = steps.iter().copied().flatten().collect();
        if levels.len() < MIN_STEPS {
            return None;
        }
        let centre = median(&mut levels);
        let from_centre = |level: &f64| distance(*level, centre, floor).abs();
        let mut distances: Vec<_> = levels.iter().map(from_centre).collect();
        let tolerance = SPREADS * MAD_TO_DEVIATION * median(&mut distances);
        let max = levels.iter().copied().fold(0.0, f64::max);
        let runs = || steps.windows(IN_A_ROW).map(|run| run.iter().copied().flatten());
        let highest = runs().filter_map(|run| run.reduce(f64::min)).fold(0.0, f64::max);
        let lowest = runs().filter_map(|run| run.reduce(f64::max)).fold(f64::MAX, f64::min);
        Some(Self { centre, max, tolerance, kept: (highest, lowest) })
    }

    /// Whether a level is unusual on a side.
    fn left(&self, side: Side, level: f64, floor: Floor) -> bool {
        let Self { centre, tolerance, kept: (highest, lowest), .. } = *self;
        let (is_news, is_far) = match side {
            Side::Above => (level > highest, level >= FACTOR * centre),
            Side::Below => (level < lowest, level <= centre / FACTOR),
        };
        let matters = (level - centre).abs() >= floor;
        is_news && is_far && matters && distance(level, centre, floor).abs() > tolerance
    }
}

/// The difference of the logarithms of two levels.
fn distance(level: f64, other: f64, floor: Floor) -> f64 {
    ((level + floor) / (other + floor)).ln()
}

/// The median of values in any order, the upper one of two; 0 without values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "usual_tests.rs"]
mod tests;
