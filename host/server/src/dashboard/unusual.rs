//! The figures that are watched, and the words for one that has left its last quarter of an hour.
//!
//! Their memory is bounded: [`FIGURES`] times [`MAX_STEPS`](super::usual::MAX_STEPS) levels, 10
//! KiB, however long the server runs.

use serde::Serialize;

use super::snapshot::Sample;
use super::usual::{Mark, STEP_SECONDS, Side, Watch};

/// A figure that has left its last quarter of an hour, in words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Unusual {
    /// The path of the figure in the sample.
    figure: &'static str,
    /// The whole text: "delivery p99 is 6 times its usual: 61 ms, usually 10 ms".
    text: String,
    /// The short text: "6 times its usual".
    brief: String,
    now: f64,
    usual: f64,
    /// The time since when it is so, in seconds since the Unix epoch.
    since: f64,
}

/// All figures that are watched.
#[derive(Debug)]
pub(super) struct Watches {
    watched: [Watched; FIGURES.len()],
    /// The seconds of the step that is not complete.
    seconds: f64,
}

#[derive(Debug)]
struct Watched {
    figure: &'static Figure,
    watch: Watch,
    /// The sum and the number of the levels that were measured in the step that is not complete.
    sum: f64,
    count: u32,
    since: f64,
}

/// A figure that is watched.
#[derive(Debug)]
struct Figure {
    path: &'static str,
    name: &'static str,
    /// Whether its name is plural: "faults are", not "faults is".
    is_plural: bool,
    unit: Unit,
    /// The smallest difference that matters, in the figure's unit; see
    /// [`Floor`](super::usual::Floor).
    floor: f64,
    /// Whether less than usual is noteworthy, too.
    is_two_sided: bool,
    of: fn(&Sample) -> Option<f64>,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Milliseconds,
    /// A rate per second.
    Rate,
    Count,
}

const FIGURES: [Figure; 10] = [
    time("handled_ms.p99", "handle p99", 5.0, |sample| sample.handled_ms.p99),
    time("delivered_ms.p99", "delivery p99", 5.0, |sample| sample.delivered_ms.p99),
    time("lag_ms.p99", "lag p99", 10.0, |sample| sample.lag_ms.p99),
    rate("faults", "faults", 0.2, |sample| Some(sample.faults)),
    rate("connects", "connects", 5.0, |sample| Some(sample.connects)),
    rate("refused", "connections turned away", 0.5, |sample| Some(sample.refused)),
    rate("joins", "joins", 5.0, |sample| Some(sample.joins)),
    Figure {
        is_two_sided: true,
        ..rate("frames_in", "messages in", 20.0, |sample| Some(sample.frames_in))
    },
    Figure {
        is_two_sided: true,
        ..count("connections", "connections", 20.0, |sample| Some(sample.connections))
    },
    count("waiting", "messages waiting", 50.0, |sample| Some(sample.waiting)),
];

/// The seconds without a sample after which what was usual before is forgotten.
const MAX_PAUSE_SECONDS: f64 = 4.0 * STEP_SECONDS;

type Of = fn(&Sample) -> Option<f64>;

const fn time(path: &'static str, name: &'static str, floor: f64, of: Of) -> Figure {
    let unit = Unit::Milliseconds;
    Figure { path, name, is_plural: false, unit, floor, is_two_sided: false, of }
}

const fn rate(path: &'static str, name: &'static str, floor: f64, of: Of) -> Figure {
    Figure { path, name, is_plural: true, unit: Unit::Rate, floor, is_two_sided: false, of }
}

const fn count(path: &'static str, name: &'static str, floor: f64, of: Of) -> Figure {
    Figure { unit: Unit::Count, ..rate(path, name, floor, of) }
}

impl Default for Watches {
    fn default() -> Self {
        let watched = FIGURES.each_ref().map(|figure| Watched {
            figure,
            watch: Watch::new(figure.floor, figure.is_two_sided),
            sum: 0.0,
            count: 0,
            since: 0.0,
        });
        Self { watched, seconds: 0.0 }
    }
}

impl Watches {
    /// Takes the sample of so many seconds, and returns the figures that are unusual.
    pub(super) fn look(&mut self, sample: &Sample, seconds: f64) -> Vec<Unusual> {
        if seconds > MAX_PAUSE_SECONDS {
            *self = Self::default();
        }
        self.seconds += seconds;
        let is_step = self.seconds >= STEP_SECONDS;
        if is_step {
            self.seconds = 0.0;
        }
        for watched in &mut self.watched {
            watched.take(sample);
            if is_step {
                watched.step(sample.at);
            }
        }
        self.watched.iter().filter_map(Watched::says).collect()
    }
}

impl Watched {
    fn take(&mut self, sample: &Sample) {
        if let Some(level) = (self.figure.of)(sample) {
            self.sum += level;
            self.count += 1;
        }
    }

    fn step(&mut self, at: f64) {
        let mean = (self.count > 0).then(|| self.sum / f64::from(self.count));
        (self.sum, self.count) = (0.0, 0);
        let was_marked = self.watch.mark().is_some();
        self.watch.step(mean);
        if !was_marked {
            self.since = at;
        }
    }

    fn says(&self) -> Option<Unusual> {
        let mark = self.watch.mark()?;
        let Figure { path, name, is_plural, unit, .. } = *self.figure;
        let brief = brief(mark, is_plural, unit);
        let verb = if is_plural { "are" } else { "is" };
        let mut text = format!("{name} {verb} {brief}");
        if mark.usual.centre > 0.0 && mark.now > 0.0 {
            text += &format!(": {}, usually {}", unit.says(mark.now), unit.says(mark.usual.centre));
        }
        let (now, usual) = (mark.now, mark.usual.centre);
        Some(Unusual { figure: path, text, brief, now, usual, since: self.since })
    }
}

/// The short text for a mark.
fn brief(mark: &Mark, is_plural: bool, unit: Unit) -> String {
    let Mark { side, usual, now, .. } = *mark;
    let its = if is_plural { "their" } else { "its" };
    match side {
        Side::Above if usual.max <= 0.0 => {
            format!("new: {}, none in the last quarter of an hour", unit.says(now))
        }
        Side::Above if usual.centre <= 0.0 => format!("{}, usually none", unit.says(now)),
        Side::Above => format!("{} times {its} usual", figures(now / usual.centre)),
        Side::Below if now <= 0.0 => format!("none, usually {}", unit.says(usual.centre)),
        Side::Below => format!("{} of {its} usual", part(usual.centre / now)),
    }
}

/// The words for one part in `of`.
fn part(of: f64) -> &'static str {
    const PARTS: [&str; 9] = [
        "half",
        "a third",
        "a quarter",
        "a fifth",
        "a sixth",
        "a seventh",
        "an eighth",
        "a ninth",
        "a tenth",
    ];
    let nearest = PARTS.iter().zip(2_u8..).find(|(_, parts)| of < f64::from(*parts) + 0.5);
    nearest.map_or("less than a tenth", |(part, _)| part)
}

/// A number with two significant digits, or with all digits before the point.
fn figures(number: f64) -> String {
    let text = if number < 9.95 { format!("{number:.1}") } else { format!("{number:.0}") };
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

impl Unit {
    fn says(self, number: f64) -> String {
        match self {
            Self::Milliseconds if number >= 1000.0 => format!("{} s", figures(number / 1000.0)),
            Self::Milliseconds if number >= 1.0 => format!("{} ms", figures(number)),
            Self::Milliseconds => format!("{:.0} µs", number * 1000.0),
            Self::Rate if number < 1.0 => format!("{number:.2} a second"),
            Self::Rate => format!("{} a second", figures(number)),
            Self::Count => figures(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::usual::MAX_STEPS;
    use super::*;

    /// Takes a sample a second for so many seconds; returns what is unusual at the end.
    fn look(watches: &mut Watches, seconds: u32, sample: &Sample) -> Vec<Unusual> {
        let looks = (0..seconds).map(|_| watches.look(sample, 1.0));
        looks.last().unwrap_or_default()
    }

    /// The texts half a minute after a quarter of an hour.
    fn said(before: &Sample, after: &Sample) -> Vec<String> {
        let mut watches = Watches::default();
        assert_eq!(look(&mut watches, 900, before), []);
        let texts = look(&mut watches, 30, after).into_iter().map(|unusual| unusual.text);
        texts.collect()
    }

    fn sample(connections: f64, delivered_ms: f64, faults: f64) -> Sample {
        let mut sample = Sample { connections, faults, ..Sample::default() };
        sample.delivered_ms.p99 = Some(delivered_ms);
        sample
    }

    #[test]
    fn it_is_said_in_words() {
        let usual = sample(1200.0, 10.0, 0.0);
        for (after, expected) in [
            (sample(1200.0, 10.0, 0.0), vec![]),
            (
                sample(1200.0, 61.0, 0.0),
                vec!["delivery p99 is 6.1 times its usual: 61 ms, usually 10 ms"],
            ),
            (
                sample(400.0, 10.0, 0.0),
                vec!["connections are a third of their usual: 400, usually 1200"],
            ),
            (sample(0.0, 10.0, 0.0), vec!["connections are none, usually 1200"]),
            (
                sample(1200.0, 10.0, 12.0),
                vec!["faults are new: 12 a second, none in the last quarter of an hour"],
            ),
            // Four times as much of next to nothing is not noteworthy.
            (sample(1200.0, 13.0, 0.1), vec![]),
        ] {
            assert_eq!(said(&usual, &after), expected, "{after:?}");
        }
        let seldom = sample(1200.0, 0.4, 3.0);
        assert_eq!(
            said(&seldom, &sample(1200.0, 2100.0, 3.0)),
            ["delivery p99 is 5250 times its usual: 2.1 s, usually 400 µs"]
        );
    }

    #[test]
    fn a_pause_makes_it_forget() {
        let (usual, other) = (sample(1200.0, 10.0, 0.0), sample(100.0, 80.0, 9.0));
        let mut watches = Watches::default();
        look(&mut watches, 900, &usual);
        assert_eq!(watches.look(&other, 3600.0), []);
        assert_eq!(look(&mut watches, 60, &other), []);
    }

    #[test]
    fn it_says_since_when_until_it_is_back() {
        let (usual, other) = (sample(1200.0, 10.0, 0.0), sample(1200.0, 80.0, 0.0));
        let mut watches = Watches::default();
        look(&mut watches, 900, &usual);
        let begun = look(&mut watches, 30, &Sample { at: 930.0, ..other.clone() });
        assert_eq!(begun.first().map(|unusual| unusual.since), Some(930.0));
        let later = look(&mut watches, 300, &Sample { at: 1230.0, ..other });
        assert_eq!(later, begun);
        assert_eq!(look(&mut watches, 30, &usual), []);
    }

    #[test]
    fn what_is_held_is_as_small_as_said() {
        let steps = FIGURES.len() * (MAX_STEPS + 2) * size_of::<Option<f64>>();
        assert!(steps <= 10 * 1024, "{steps}");
    }
}
