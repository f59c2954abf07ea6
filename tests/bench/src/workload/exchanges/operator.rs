//! `millrace swap`, as an operator types it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::server::Target;

/// Someone at a shell beside the server, with the server's own program.
#[derive(Debug)]
pub(super) struct Operator {
    program: PathBuf,
    admin: String,
    scratch: TempDir,
}

/// What `millrace swap` told of one exchange.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// `live`, or what else became of it.
    pub(super) outcome: String,
    /// How long the exchange itself took, in milliseconds.
    pub(super) pause_ms: f64,
}

impl Operator {
    pub(super) async fn of(server: &Target) -> Result<Self> {
        let program = std::fs::read_link(format!("/proc/{}/exe", server.pid))?;
        let admin = server.admin().await?.to_string();
        Ok(Self { program, admin, scratch: TempDir::new()? })
    }

    /// Builds a plugin's folder under `tests/`; where its component is then.
    pub(super) async fn built(&self, folder: &str, plugin: &str) -> Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let mut build = Command::new(&self.program);
        build.arg("build").arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
        let status = build.status().await.context("failed to start millrace build")?;
        ensure!(status.success(), "millrace build {} failed", folder.display());
        Ok(folder.join(format!(".millrace/{plugin}.wasm")))
    }

    /// A component that differs from another in nothing but its number, in a section
    /// that says nothing: it is compiled anew all the same. Where it is until the next.
    pub(super) fn numbered(&self, component: &[u8], number: usize) -> Result<PathBuf> {
        let (name, number) = (b"number", u64::try_from(number)?.to_le_bytes());
        let mut section = vec![u8::try_from(name.len())?];
        section.extend_from_slice(name);
        section.extend_from_slice(&number);
        let mut numbered = component.to_vec();
        numbered.extend([0, u8::try_from(section.len())?]);
        numbered.extend(section);
        let path = self.scratch.path().join("numbered.wasm");
        std::fs::write(&path, numbered)?;
        Ok(path)
    }

    /// Exchanges a plugin for a file, and waits until that has come to its end.
    pub(super) async fn swap(&self, plugin: &str, file: &Path, more: &[&str]) -> Result<Told> {
        let mut command = Command::new(&self.program);
        command.args(["swap", plugin]).arg(file).args(["--json", "--admin", &self.admin]);
        let output = command.args(more).kill_on_drop(true).output().await?;
        let text = String::from_utf8(output.stdout)?;
        let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        let (mut outcome, mut pause_ms) = (None, 0.0);
        for line in lines? {
            let detail = line["detail"].as_str().unwrap_or_default();
            if let Some((_, pause)) = detail.split_once("after a pause of ") {
                let micros = pause.split(' ').next().and_then(|micros| micros.parse::<f64>().ok());
                pause_ms = micros.with_context(|| format!("no pause in {line}"))? / 1e3;
            }
            outcome = line["outcome"].as_str().map(str::to_owned).or(outcome);
        }
        let outcome = outcome.with_context(|| {
            format!("millrace swap: {text}{}", String::from_utf8_lossy(&output.stderr))
        })?;
        Ok(Told { outcome, pause_ms })
    }
}
