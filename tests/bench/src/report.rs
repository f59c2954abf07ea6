//! A table of measurements, with ratios to the first server.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::workload::Outcome;

/// The measurements of one server, round by round.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The name in the table.
    pub name: String,
    /// The rounds, which all have the same figures.
    pub rounds: Vec<Outcome>,
}

impl Measured {
    /// A server without measurements.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), rounds: Vec::new() }
    }

    /// The number of replies and messages that did not come exactly once.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.rounds.iter().map(|round| round.lost + round.duplicated).sum()
    }

    fn has(&self, figure: &str) -> bool {
        self.values(figure).iter().any(|value| !value.is_nan())
    }

    /// The values of one figure in all rounds.
    pub(crate) fn values(&self, figure: &str) -> Vec<f64> {
        let value = |round: &Outcome| match figure {
            "lost" => round.lost as f64,
            "duplicated" => round.duplicated as f64,
            _ => {
                let found = round.figures.iter().find(|(name, _)| *name == figure);
                found.map_or(f64::NAN, |(_, value)| *value)
            }
        };
        self.rounds.iter().map(value).collect()
    }
}

/// A Markdown table: minimum, median and maximum of each figure, and the ratio
/// of the medians to those of the first server.
#[must_use]
pub fn table(servers: &[Measured]) -> String {
    let mut out = String::from("| figure | server | min | median | max | ratio |\n");
    out.push_str("| --- | --- | --: | --: | --: | --: |\n");
    let Some(first) = servers.first() else { return out };
    for figure in figures(servers) {
        let base = Spread::of(first.values(figure)).median;
        for server in servers.iter().filter(|server| server.has(figure)) {
            let Spread { min, median, max } = Spread::of(server.values(figure));
            let ratio = ratio(median, base).map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
            let name = &server.name;
            let _ = writeln!(
                out,
                "| {figure} | {name} | {} | {} | {} | {ratio} |",
                short(min),
                short(median),
                short(max),
            );
        }
    }
    out
}

/// The names of all figures, in the order of the table.
fn figures(servers: &[Measured]) -> Vec<&'static str> {
    let rounds = servers.iter().filter_map(|server| server.rounds.first());
    let mut names = Vec::new();
    for (name, _) in rounds.flat_map(|round| &round.figures) {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names.extend(["lost", "duplicated"]);
    names
}

/// The content of [`table`] as JSON, with the value of every round.
#[must_use]
pub fn json(servers: &[Measured]) -> Value {
    let server = |server: &Measured| {
        let figure = |figure: &str| {
            let rounds = server.values(figure);
            let Spread { min, median, max } = Spread::of(rounds.clone());
            json!({ "name": figure, "min": min, "median": median, "max": max, "rounds": rounds })
        };
        let figures: Vec<Value> =
            figures(std::slice::from_ref(server)).into_iter().map(figure).collect();
        json!({ "name": server.name, "figures": figures })
    };
    json!({ "servers": servers.iter().map(server).collect::<Vec<Value>>() })
}

/// The spread of a figure over several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        // The middle value, or the mean of the two in the middle.
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { min: at(0), median, max: at(last) }
    }
}

fn ratio(value: f64, base: f64) -> Option<f64> {
    Some(value / base).filter(|ratio| ratio.is_finite())
}

/// A number with some three digits.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        _ if value.fract() == 0.0 => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, values: &[f64]) -> Measured {
        let round = |value: &f64| Outcome { figures: vec![("CPU", *value)], ..Outcome::default() };
        Measured { name: name.to_owned(), rounds: values.iter().map(round).collect() }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = |min, median, max| Spread { min, median, max };
        assert_eq!(Spread::of(vec![9.0, 1.0, 2.0]), spread(1.0, 2.0, 9.0));
        assert_eq!(Spread::of(vec![2.0, 1.0]), spread(1.0, 1.5, 2.0));
        assert!(Spread::of(Vec::new()).median.is_nan());
    }

    #[test]
    fn ratios_are_to_the_first_server() {
        let table = table(&[measured("a", &[2.0]), measured("b", &[4.0, 16.0, 5.5])]);
        assert!(table.contains("| CPU | a | 2 | 2 | 2 | 1.00 |\n"), "{table}");
        assert!(table.contains("| CPU | b | 4 | 5.50 | 16 | 2.75 |\n"), "{table}");
        assert!(table.contains("| lost | b | 0 | 0 | 0 | – |\n"), "{table}");
    }

    #[test]
    fn programs_get_every_round() {
        let json = json(&[measured("a", &[3.0, 1.0])]);
        let figure = &json["servers"][0]["figures"][0];
        assert_eq!(figure["rounds"], json!([3.0, 1.0]));
        assert_eq!(figure["median"], json!(2.0));
    }
}
