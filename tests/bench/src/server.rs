//! A server under test: one that is running already, or a command that prints its address.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::protocol::Protocol;

/// The server that gets the load, and whose resources are measured.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address and protocol for clients.
    pub endpoint: Endpoint,
    /// The server's process.
    pub pid: u32,
    /// The time of its start, if it was started here.
    pub started: Option<Instant>,
    /// The address of its admin interface, once it is known.
    admin: watch::Receiver<Option<SocketAddr>>,
}

/// The address that clients connect to, and its protocol.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// The IPv4 address.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
}

/// A name and a command, for example `floor=target/release/floor`.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    /// The name in the table.
    pub name: String,
    words: Vec<String>,
}

/// A server that was started here. Dropping it ends the server, but does not wait for the end.
#[derive(Debug)]
pub struct RunningServer {
    /// The target of the load.
    pub target: Target,
    child: Child,
}

/// The time within which a server prints the address of its admin interface, after its own.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The time within which a server starts: a plugin may have to be built first.
const START_TIMEOUT: Duration = Duration::from_secs(300);

impl Target {
    /// The target of a server that is running.
    #[must_use]
    pub fn new(endpoint: Endpoint, pid: u32, admin: Option<SocketAddr>) -> Self {
        Self { endpoint, pid, started: None, admin: watch::channel(admin).1 }
    }

    /// The address of the admin interface.
    pub async fn admin(&self) -> Result<SocketAddr> {
        let mut admin = self.admin.clone();
        let known = timeout(ADMIN_TIMEOUT, admin.wait_for(Option::is_some)).await;
        let known = known.ok().and_then(Result::ok).and_then(|known| *known);
        known.context("the server says nothing of an admin interface; its app needs [admin]")
    }
}

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

    /// Makes a command of a program and its arguments.
    #[must_use]
    pub fn new(name: &str, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Self { name: name.to_owned(), words }
    }

    /// Starts the server, and waits for the first `http://HOST:PORT` on its stdout. A line that
    /// begins with `socket.io` says that this is its protocol.
    pub async fn start(&self) -> Result<RunningServer> {
        let [program, arguments @ ..] = self.words.as_slice() else { bail!("no command") };
        let started = Some(Instant::now());
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {program}"))?;
        let pid = child.id().context("the server has ended")?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let endpoint = timeout(START_TIMEOUT, endpoint(&mut lines));
        let endpoint = endpoint.await.context("waited too long for the server's address")??;
        let (known, admin) = watch::channel(None);
        tokio::spawn(read_on(lines, known));
        let target = Target { endpoint, pid, started, admin };
        Ok(RunningServer { target, child })
    }
}

impl RunningServer {
    /// Ends the server, and waits until it has ended.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("failed to stop the server")
    }
}

/// The address that a server prints.
async fn endpoint(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Endpoint> {
    while let Some(line) = lines.next_line().await? {
        let Some(address) = address_in(&line) else { continue };
        return Ok(Endpoint { address, protocol: Protocol::of(&line) });
    }
    bail!("the server ended without printing its address")
}

/// Reads what the server prints later, so that it never blocks. Only the address of the admin
/// interface is kept.
async fn read_on(
    mut lines: Lines<BufReader<ChildStdout>>,
    known: watch::Sender<Option<SocketAddr>>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line.strip_prefix("admin ").and_then(address_in) {
            known.send_replace(Some(address));
        }
    }
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
