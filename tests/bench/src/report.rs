//! A table of what was measured, with ratios to the first server.

use std::fmt::Write;

use crate::workload::Figures;

/// What was measured of one server, round by round.
#[derive(Clone, Debug)]
pub struct Measured {
    /// For the table.
    pub name: String,
    /// The same figures in each round.
    pub rounds: Vec<Figures>,
}

/// A Markdown table: minimum, median and maximum of each figure, and the ratio
/// of the medians to those of the first server.
#[must_use]
pub fn table(servers: &[Measured]) -> String {
    let mut out = String::from("| server | figure | min | median | max | ratio |\n");
    out.push_str("| --- | --- | --: | --: | --: | --: |\n");
    for server in servers {
        let figures = server.rounds.first().map_or(0, Vec::len);
        for at in 0..figures {
            let name = server.rounds.first().and_then(|r| r.get(at)).map_or("", |(name, _)| *name);
            let values = column(server, at);
            let base = servers.first().map(|first| median(&column(first, at)));
            let ratio = base.map_or(f64::NAN, |base| median(&values) / base);
            let (min, max) = (values.first(), values.last());
            let _ = writeln!(
                out,
                "| {} | {name} | {:.2} | {:.2} | {:.2} | {ratio:.2} |",
                server.name,
                min.unwrap_or(&f64::NAN),
                median(&values),
                max.unwrap_or(&f64::NAN),
            );
        }
    }
    out
}

/// One figure of all rounds, sorted.
fn column(server: &Measured, at: usize) -> Vec<f64> {
    let mut values: Vec<f64> =
        server.rounds.iter().filter_map(|round| round.get(at).map(|(_, value)| *value)).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (0, Some(below), Some(above)) => (below + above) / 2.0,
        (_, _, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[1.0, 2.0]) - 1.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_to_the_first_server() {
        let measured = |name: &str, value| Measured {
            name: name.to_owned(),
            rounds: vec![vec![("x", value)]],
        };
        let table = table(&[measured("a", 2.0), measured("b", 5.0)]);
        assert!(table.contains("| b | x | 5.00 | 5.00 | 5.00 | 2.50 |"), "{table}");
    }
}
