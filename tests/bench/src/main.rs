//! `millrace-bench`: the same load on several servers in turn.

use std::io::Write;

use anyhow::Result;
use clap::{Parser, Subcommand};
use millrace_bench::report::{Measured, table};
use millrace_bench::server::{RunningServer, ServerCommand};
use millrace_bench::workload::{self, Figures};

/// Puts the same load on several servers in turn and prints what it cost them.
#[derive(Debug, Parser)]
#[command(after_help = "\
Example:
  millrace-bench --server 'floor=target/release/floor' \\
      --server 'millrace=target/release/millrace serve tests/apps/probe --listen :0' echo")]
struct Cli {
    #[command(subcommand)]
    workload: Workload,
    /// A server to measure, as NAME=COMMAND; ratios are to the first one.
    #[arg(long, required = true, value_parser = ServerCommand::parse)]
    server: Vec<ServerCommand>,
    /// How often each server gets its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Workload {
    /// Round trips on a topic of each client's own.
    Echo {
        /// Clients.
        #[arg(long, default_value_t = 100)]
        connections: usize,
        /// Pings each keeps in flight.
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        /// How long a turn lasts.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Clients that have joined and say nothing.
    Idle {
        /// Clients.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
    /// Broadcasts from one client to many.
    Fanout {
        /// Clients that listen.
        #[arg(long, default_value_t = 1_000)]
        subscribers: usize,
        /// How long a turn lasts.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
}

impl Workload {
    async fn run(self, server: &RunningServer) -> Result<Figures> {
        match self {
            Self::Echo { connections, in_flight, seconds } => {
                workload::echo(server, connections, in_flight, seconds).await
            }
            Self::Idle { connections } => workload::idle(server, connections).await,
            Self::Fanout { subscribers, seconds } => {
                workload::fanout(server, subscribers, seconds).await
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut servers: Vec<Measured> = cli
        .server
        .iter()
        .map(|command| Measured { name: command.name.clone(), rounds: Vec::new() })
        .collect();
    for _ in 0..cli.rounds {
        for (command, measured) in cli.server.iter().zip(&mut servers) {
            let server = command.start().await?;
            measured.rounds.push(cli.workload.run(&server).await?);
        }
    }
    write!(std::io::stdout(), "{}", table(&servers))?;
    Ok(())
}
