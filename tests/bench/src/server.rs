//! A server under test: a command that prints its address.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A name and a command, for example `floor=target/release/floor --listen :0`.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    /// For the table.
    pub name: String,
    words: Vec<String>,
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct RunningServer {
    /// Its process.
    pub pid: u32,
    /// `HOST:PORT`.
    pub address: String,
    _child: Child,
}

/// A plugin may have to be compiled first.
const START_TIMEOUT: Duration = Duration::from_secs(60);

impl ServerCommand {
    /// Reads `NAME=COMMAND ARGUMENTS…`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("NAME=COMMAND is expected")?;
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err("NAME=COMMAND is expected, found no command".to_owned());
        }
        Ok(Self { name: name.to_owned(), words })
    }

    /// Starts it and waits for the first `http://HOST:PORT` on its stdout.
    pub async fn start(&self) -> Result<RunningServer> {
        let [program, arguments @ ..] = self.words.as_slice() else { bail!("no command") };
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {program}"))?;
        let pid = child.id().context("the server has ended")?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let address = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = address_in(&line) {
                    return Ok(address);
                }
            }
            bail!("{} ended without printing its address", self.name)
        };
        let address = tokio::time::timeout(START_TIMEOUT, address).await??;
        Ok(RunningServer { pid, address, _child: child })
    }
}

fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':'));
    Some(rest.get(..end.unwrap_or(rest.len()))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found() {
        let line = "Millrace is listening on http://127.0.0.1:4000 (clients: ws://x)";
        assert_eq!(address_in(line).as_deref(), Some("127.0.0.1:4000"));
        assert_eq!(address_in("starting"), None);
    }
}
