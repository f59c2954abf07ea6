//! `millrace-bench`: puts a load on servers and prints what it cost them.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use millrace_bench::protocol::Protocol;
use millrace_bench::report::{Measured, json, table};
use millrace_bench::server::{Endpoint, ServerCommand, Target};
use millrace_bench::suite::Suite;
use millrace_bench::workload::Workload;

/// Puts a load on servers that speak the Phoenix protocol, and prints what it
/// cost them. Fails if any reply or message is lost or comes twice.
#[derive(Debug, Parser)]
#[command(after_help = "\
Example:
  millrace-bench compare --server 'floor=target/release/floor' \\
      --server 'millrace=target/release/millrace serve tests/apps/probe --listen 127.0.0.1:0' \\
      echo --in-flight 16")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start several servers in turn and compare them.
    Compare {
        /// A server to start, as NAME=COMMAND; ratios are to the first one.
        #[arg(long = "server", required = true, value_name = "NAME=COMMAND", value_parser = ServerCommand::parse)]
        servers: Vec<ServerCommand>,
        /// How often each server gets its turn.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Write the figures of every round to this file too.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        #[command(subcommand)]
        workload: Workload,
    },
    /// Every workload on the floor, Millrace and two peers, in turns.
    Suite(Suite),
    /// Measure a server that is running.
    Load {
        /// Where it listens, as 127.0.0.1:PORT.
        #[arg(long)]
        address: SocketAddr,
        /// Its process, for CPU and memory.
        #[arg(long)]
        pid: u32,
        /// Its admin interface, for pipelines.
        #[arg(long)]
        admin: Option<SocketAddr>,
        /// It speaks socket.io's protocol.
        #[arg(long)]
        socket_io: bool,
        /// Write the figures to this file too.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        #[command(subcommand)]
        workload: Workload,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    rlimit::increase_nofile_limit(u64::MAX).context("failed to raise the limit of open files")?;
    match cli.command {
        Command::Compare { servers, rounds, json, workload } => {
            let measured = compare(&servers, rounds, workload).await?;
            report(&measured, json.as_deref())
        }
        Command::Suite(suite) => match suite.run().await? {
            0 => Ok(ExitCode::SUCCESS),
            faults => Ok(failed(faults)),
        },
        Command::Load { address, pid, admin, socket_io, json, workload } => {
            let protocol = if socket_io { Protocol::SocketIo } else { Protocol::Phoenix };
            let target = Target::new(Endpoint { address, protocol }, pid, admin);
            let mut measured = Measured::new(&address.to_string());
            measured.rounds.push(workload.run(&target).await?);
            report(&[measured], json.as_deref())
        }
    }
}

/// Measures the servers in turns, each time as a new process, so that disturbances of the machine
/// affect all of them.
async fn compare(
    servers: &[ServerCommand],
    rounds: usize,
    workload: Workload,
) -> Result<Vec<Measured>> {
    let mut measured: Vec<Measured> =
        servers.iter().map(|command| Measured::new(&command.name)).collect();
    for round in 1..=rounds {
        for (command, measured) in servers.iter().zip(&mut measured) {
            let name = &command.name;
            eprintln!("round {round} of {rounds}: {name}");
            let failed = || format!("failed to measure {name}");
            let server = command.start().await.with_context(failed)?;
            measured.rounds.push(workload.run(&server.target).await.with_context(failed)?);
            server.stop().await?;
        }
    }
    Ok(measured)
}

fn report(measured: &[Measured], file: Option<&Path>) -> Result<ExitCode> {
    write!(std::io::stdout(), "{}", table(measured))?;
    if let Some(file) = file {
        let failed = || format!("failed to write {}", file.display());
        fs::write(file, format!("{:#}\n", json(measured))).with_context(failed)?;
    }
    let faults: u64 = measured.iter().map(Measured::faults).sum();
    Ok(if faults > 0 { failed(faults) } else { ExitCode::SUCCESS })
}

fn failed(faults: u64) -> ExitCode {
    eprintln!("{faults} replies or messages were lost or came twice");
    ExitCode::FAILURE
}
