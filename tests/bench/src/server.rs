//! A server under test: running already, or a command that prints its address.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::protocol::Protocol;

/// Where the load goes, and whose resources are counted.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// IPv4.
    pub address: SocketAddr,
    /// The server's process.
    pub pid: u32,
    /// What it speaks.
    pub protocol: Protocol,
}

/// A name and a command, for example `floor=target/release/floor`.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    /// For the table.
    pub name: String,
    words: Vec<String>,
}

/// A server that was started here; dropping it ends it too, but does not wait.
#[derive(Debug)]
pub struct RunningServer {
    /// What to put the load on.
    pub target: Target,
    child: Child,
}

/// A plugin may have to be built first.
const START_TIMEOUT: Duration = Duration::from_secs(300);

impl ServerCommand {
    /// Reads `NAME=COMMAND ARGUMENTS…`; spaces part the arguments, without
    /// quoting.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("NAME=COMMAND is expected")?;
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err("NAME=COMMAND is expected, found no command".to_owned());
        }
        Ok(Self { name: name.to_owned(), words })
    }

    /// A program and its arguments.
    #[must_use]
    pub fn new(name: &str, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Self { name: name.to_owned(), words }
    }

    /// Starts it and waits for the first `http://HOST:PORT` on its stdout. A line
    /// that begins with `socket.io` says that this is its protocol.
    pub async fn start(&self) -> Result<RunningServer> {
        let [program, arguments @ ..] = self.words.as_slice() else { bail!("no command") };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {program}"))?;
        let pid = child.id().context("the server has ended")?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        let address = tokio::time::timeout(START_TIMEOUT, address(stdout));
        let found = address.await.context("waited too long for the server's address")?;
        let (address, protocol) = found?;
        Ok(RunningServer { target: Target { address, pid, protocol }, child })
    }
}

impl RunningServer {
    /// Ends it, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("failed to stop the server")
    }
}

/// The address a server prints. What it prints later is read and forgotten, so
/// that it never blocks.
async fn address(stdout: ChildStdout) -> Result<(SocketAddr, Protocol)> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        let Some(address) = address_in(&line) else { continue };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        return Ok((address, Protocol::of(&line)));
    }
    bail!("the server ended without printing its address")
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':'));
    rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found() {
        let line = "Millrace is listening on http://127.0.0.1:4000 (clients: ws://x)";
        assert_eq!(address_in(line), Some(SocketAddr::from(([127, 0, 0, 1], 4000))));
        assert_eq!(address_in("see http://example.com/"), None);
        assert_eq!(address_in("starting"), None);
    }

    #[test]
    fn a_command_has_a_name() {
        let command = ServerCommand::parse("a=b --c=d").unwrap();
        assert_eq!((command.name.as_str(), command.words.join("|")), ("a", "b|--c=d".to_owned()));
        ServerCommand::parse("floor").unwrap_err();
        ServerCommand::parse("floor=").unwrap_err();
    }
}
