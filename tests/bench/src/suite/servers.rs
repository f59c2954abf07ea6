//! The servers of the suite, and what has to be installed before they start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::plan::{Kind, Turn};
use crate::server::ServerCommand;
use crate::workload::Workload;

/// The paths and versions of the servers.
#[derive(Debug)]
pub(super) struct Servers {
    floor: PathBuf,
    millrace: PathBuf,
    workspace: PathBuf,
    /// The names of the servers, with their versions.
    pub(super) versions: Vec<String>,
}

const PEERS: &str = "tests/bench/peers";

impl Servers {
    /// Finds the programs, and installs the peers' packages unless they are there.
    pub(super) fn find(millrace: Option<&Path>) -> Result<Self> {
        let own = std::env::current_exe().context("failed to find this program")?;
        let beside = own.parent().context("this program is in no folder")?;
        let millrace = millrace.map_or_else(|| beside.join("millrace"), Path::to_owned);
        let floor = beside.join("floor");
        for program in [&millrace, &floor] {
            ensure!(
                program.is_file(),
                "there is no {}; build it with: \
                 cargo build --release -p millrace -p millrace-bench",
                program.display()
            );
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let peers = workspace.join(PEERS);
        install(&peers)?;
        let mut versions = vec![said(Command::new(&millrace).arg("--version"))?];
        let node = said(Command::new("node").arg("--version"))?;
        versions.push(format!("Node.js {}", node.trim_start_matches('v')));
        for package in ["ws", "socket.io"] {
            let manifest = peers.join("node_modules").join(package).join("package.json");
            let manifest: Value = serde_json::from_slice(&fs::read(manifest)?)?;
            versions.push(format!("{package} {}", manifest["version"].as_str().unwrap_or("?")));
        }
        Ok(Self { floor, millrace, workspace, versions })
    }

    /// The parts of a turn: its name, the server and the load.
    pub(super) fn turn(&self, turn: &Turn) -> Result<(String, ServerCommand, Workload)> {
        let path = |path: PathBuf| {
            path.to_str().map(str::to_owned).context("a path that is no text cannot be started")
        };
        let (millrace, floor) = (path(self.millrace.clone())?, path(self.floor.clone())?);
        let peer = |file: &str| path(self.workspace.join(PEERS).join(file));
        let (name, command) = match turn.server {
            Kind::Floor => ("floor", vec![floor]),
            Kind::Millrace(app) => {
                let app = path(self.workspace.join(app))?;
                let words = [&millrace, "serve", &app, "--listen", "127.0.0.1:0"];
                ("Millrace", words.map(str::to_owned).to_vec())
            }
            Kind::Ws => ("ws", vec!["node".to_owned(), peer("ws.mjs")?]),
            Kind::SocketIo => ("socket.io", vec!["node".to_owned(), peer("socket.io.mjs")?]),
        };
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let name = turn.name.unwrap_or(name);
        Ok((name.to_owned(), ServerCommand::new(name, &words), turn.workload))
    }
}

/// Runs `npm ci`, unless the installed packages are those of `package-lock.json`: npm writes its
/// own copy of that file last.
fn install(peers: &Path) -> Result<()> {
    let modified =
        |path: &str| fs::metadata(peers.join(path)).and_then(|file| file.modified()).ok();
    let installed = modified("node_modules/.package-lock.json");
    if installed.is_some_and(|at| Some(at) >= modified("package-lock.json")) {
        return Ok(());
    }
    let status = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(peers)
        .stdout(Stdio::null())
        .status()
        .context("failed to start npm; the peers need Node.js 18 or later with npm")?;
    ensure!(status.success(), "`npm ci` failed in {}", peers.display());
    Ok(())
}

/// The first line that a program prints.
pub(super) fn said(command: &mut Command) -> Result<String> {
    let program = format!("{command:?}");
    let output = command.output().with_context(|| format!("failed to start {program}"))?;
    ensure!(output.status.success(), "{program} failed");
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
