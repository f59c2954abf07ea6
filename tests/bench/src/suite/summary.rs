//! The tables of the suite.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use anyhow::Result;

use super::plan::Part;
use super::servers::said;
use crate::report::{Measured, Spread, short, table};

/// The date, the machine and the versions of the servers.
pub(super) fn head(versions: &[String]) -> Result<String> {
    let date = said(Command::new("date").args(["-u", "+%F"]))?;
    let commit = said(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    let commit = commit.map_or_else(|_| String::new(), |commit| format!(" (commit {commit})"));
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("an unknown CPU", |model| model.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let versions = versions.join(", ");
    let kernel = kernel.trim();
    Ok(format!("{date}{commit}: {model}, {cores} cores, Linux {kernel}; {versions}\n"))
}

/// One table for all servers, one with the ratios of the peers, and one for each part that only
/// Millrace has.
pub(super) fn tables(parts: &[Part]) -> String {
    let mut out = String::from(
        "Server CPU, memory and latency: medians. The ratio is that of each round; its \
         minimum, median and maximum.\n\n\
         | work | floor | Millrace | Millrace / floor | ws | socket.io |\n\
         | --- | --: | --: | --: | --: | --: |\n",
    );
    let mut peers =
        String::from("\n| work | ws / Millrace | socket.io / Millrace |\n| --- | --: | --: |\n");
    for part in parts {
        let [floor, millrace, ws, socket_io] = part.measured.as_slice() else { continue };
        for (figure, work) in part.shown {
            let median = |server: &Measured| short(Spread::of(server.values(figure)).median);
            let ratio = |of: &Measured, to: &Measured| ratios(of, to, figure);
            let _ = writeln!(
                out,
                "| {work} | {} | {} | {} | {} | {} |",
                median(floor),
                median(millrace),
                ratio(millrace, floor),
                median(ws),
                median(socket_io),
            );
            let (ws, socket_io) = (ratio(ws, millrace), ratio(socket_io, millrace));
            let _ = writeln!(peers, "| {work} | {ws} | {socket_io} |");
        }
    }
    out.push_str(&peers);
    for part in parts.iter().filter(|part| part.shown.is_empty()) {
        let _ = write!(out, "\n{}, Millrace alone:\n\n{}", part.name, table(&part.measured));
    }
    let faults: u64 = parts.iter().flat_map(|part| &part.measured).map(Measured::faults).sum();
    let _ = writeln!(out, "\nLost or doubled: {faults}");
    out
}

/// The ratios of two servers that took turns: minimum, median and maximum of the rounds.
fn ratios(of: &Measured, to: &Measured, figure: &str) -> String {
    let rounds = of.values(figure).into_iter().zip(to.values(figure));
    let Spread { min, median, max } = Spread::of(rounds.map(|(of, to)| of / to).collect());
    format!("{} / {} / {}", short(min), short(median), short(max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Outcome;

    fn measured(values: [f64; 3]) -> Measured {
        let round = |value| Outcome { figures: vec![("CPU", value)], ..Outcome::default() };
        Measured { name: String::new(), rounds: values.map(round).to_vec() }
    }

    #[test]
    fn ratios_are_those_of_each_round() {
        let (of, to) = (measured([4.0, 9.0, 2.0]), measured([2.0, 3.0, 4.0]));
        assert_eq!(ratios(&of, &to, "CPU"), "0.50 / 2 / 3");
    }

    #[test]
    fn a_row_has_a_cell_for_each_server() {
        let servers = [[1.0; 3], [2.0; 3], [4.0; 3], [8.0; 3]].map(measured).to_vec();
        let shown = &[("CPU", "echo: µs")];
        let part = Part { name: "echo", turns: Vec::new(), shown, measured: servers };
        let tables = tables(&[part]);
        assert!(tables.contains("| echo: µs | 1 | 2 | 2 / 2 / 2 | 4 | 8 |\n"), "{tables}");
        assert!(tables.contains("| echo: µs | 2 / 2 / 2 | 4 / 4 / 4 |\n"), "{tables}");
    }
}
