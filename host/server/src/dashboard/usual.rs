//! Whether a figure has left its last quarter of an hour.
//!
//! Levels are compared as logarithms, as most figures vary by a share of themselves:
//! twice and half are equally far from what is usual. The centre is the median and the
//! spread the median distance from it (MAD), which a few odd steps do not move.

use std::collections::VecDeque;

/// How far apart two levels of a figure have to be to matter, in the figure's unit. It is
/// also what is added to both before they are compared, so that nothing is compared with
/// zero.
pub(super) type Floor = f64;

/// The last quarter of an hour of one figure, and whether it has left it.
#[derive(Debug)]
pub(super) struct Watch {
    floor: Floor,
    /// Below is as noteworthy as above.
    is_two_sided: bool,
    /// Oldest first; those that are judged are the last. Nothing where there was nothing
    /// to measure.
    steps: VecDeque<Option<f64>>,
    mark: Option<Mark>,
}

/// A figure has left its last quarter of an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) side: Side,
    /// What was usual before, which does not move while it is marked.
    pub(super) usual: Usual,
    /// What it is instead.
    pub(super) now: f64,
    steps: usize,
}

/// On which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Above,
    Below,
}

/// What is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual {
    pub(super) centre: f64,
    /// The highest of all.
    pub(super) max: f64,
    /// How far the logarithm may be from the centre's.
    tolerance: f64,
    /// The highest and lowest levels that were kept as long as one that is judged: a job
    /// that runs every few minutes is no news.
    kept: (f64, f64),
}

/// A quarter of an hour, in steps of [`STEP_SECONDS`].
pub(super) const MAX_STEPS: usize = 60;
/// The length of a step.
pub(super) const STEP_SECONDS: f64 = 15.0;
/// Steps that have something, of those before: five minutes.
const MIN_STEPS: usize = 20;
/// How many steps have to be unusual one after the other: one spike says nothing.
const IN_A_ROW: usize = 2;
/// How many spreads away.
const SPREADS: f64 = 4.0;
/// How many times the usual at least, or which part of it at most.
const FACTOR: f64 = 2.0;
/// Makes of the median distance what is the standard deviation of normally distributed
/// noise.
const MAD_TO_DEVIATION: f64 = 1.4826;

impl Watch {
    pub(super) fn new(floor: Floor, is_two_sided: bool) -> Self {
        let steps = VecDeque::with_capacity(MAX_STEPS + IN_A_ROW);
        Self { floor, is_two_sided, steps, mark: None }
    }

    /// Takes the next step: the mark begins, stays or ends. It ends when the figure is
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

    /// Whether it has left its last quarter of an hour.
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

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

    fn still(&self, mark: Mark) -> Option<Mark> {
        let left = |level| mark.usual.left(mark.side, level, self.floor);
        let is_back = !self.judged().flatten().any(left);
        let (steps, now) = (mark.steps + 1, self.outermost(mark.side)?);
        (!is_back && steps < MAX_STEPS).then_some(Mark { steps, now, ..mark })
    }

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

/// Of the logarithms of two levels.
fn distance(level: f64, other: f64, floor: Floor) -> f64 {
    ((level + floor) / (other + floor)).ln()
}

/// The upper one, of values in any order; 0 of none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "usual_tests.rs"]
mod tests;
