//! Every workload on every server, in turns.
//!
//! ```text
//! plan      which workloads, how large, and which of their figures are shown
//! servers   the programs, and what has to be there before they start
//! summary   the tables
//! ```

mod plan;
mod servers;
mod summary;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use crate::report::{self, Measured};
use crate::server::ServerCommand;
use crate::workload::{Outcome, Workload};
use plan::{Part, plan};
use servers::Servers;

/// Runs every workload on the floor, Millrace, a plain `ws` server and a socket.io
/// server, in turns, and prints what each costs. Takes some eight minutes.
#[derive(Clone, Debug, clap::Args)]
pub struct Suite {
    /// How often each server gets its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Each workload once, small and for a fraction of a second: whether anything
    /// is lost or doubled, and no figure worth reading.
    #[arg(long)]
    short: bool,
    /// The millrace program; default: the one beside this program.
    #[arg(long, value_name = "PROGRAM")]
    millrace: Option<PathBuf>,
    /// Write the figures of every round to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables to this file too.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Suite {
    /// Runs the suite, and returns how many replies or messages were lost or came twice.
    pub async fn run(self) -> Result<u64> {
        let servers = Servers::find(self.millrace.as_deref())?;
        let rounds = if self.short { 1 } else { self.rounds };
        let mut parts = Vec::new();
        for part in plan(self.short) {
            parts.push(measure(part, &servers, rounds).await?);
        }
        let head = summary::head(&servers.versions)?;
        let tables = format!("{head}\n{}", summary::tables(&parts));
        write!(std::io::stdout(), "{tables}")?;
        let failed = |file: &PathBuf| format!("failed to write {}", file.display());
        if let Some(file) = &self.markdown {
            fs::write(file, &tables).with_context(|| failed(file))?;
        }
        if let Some(file) = &self.json {
            let part = |part: &Part| json!({ "work": part.name, "measured": report::json(&part.measured) });
            let all = json!({ "about": head, "parts": parts.iter().map(part).collect::<Vec<_>>() });
            fs::write(file, format!("{all:#}\n")).with_context(|| failed(file))?;
        }
        Ok(parts.iter().flat_map(|part| &part.measured).map(Measured::faults).sum())
    }
}

/// Starts each server again for each turn, so that disturbances of the machine affect all of them.
async fn measure(mut part: Part, servers: &Servers, rounds: usize) -> Result<Part> {
    for round in 1..=rounds {
        for (place, turn) in part.turns.iter().enumerate() {
            let (name, command, workload) = servers.turn(turn)?;
            eprintln!("{}, round {round} of {rounds}: {name}", part.name);
            let outcome = turn_of(&command, workload).await;
            let outcome = outcome.with_context(|| format!("failed to measure {name}"))?;
            if part.measured.len() == place {
                part.measured.push(Measured::new(&name));
            }
            if let Some(measured) = part.measured.get_mut(place) {
                measured.rounds.push(outcome);
            }
        }
    }
    Ok(part)
}

async fn turn_of(command: &ServerCommand, workload: Workload) -> Result<Outcome> {
    let server = command.start().await?;
    let outcome = workload.run(&server.target).await?;
    server.stop().await?;
    Ok(outcome)
}
