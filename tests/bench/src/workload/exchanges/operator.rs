//! Exchanges, as an operator makes them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::http::Http;
use crate::server::Target;

/// An operator, with the program of the server.
#[derive(Debug)]
pub(in crate::workload) struct Operator {
    program: PathBuf,
    admin: SocketAddr,
}

/// The result of one exchange.
#[derive(Clone, Debug)]
pub(in crate::workload) struct ExchangeResult {
    /// The outcome: `live`, or another one.
    pub(in crate::workload) outcome: String,
    /// The time that the exchange itself took, in milliseconds.
    pub(in crate::workload) pause_ms: f64,
}

impl Operator {
    pub(in crate::workload) async fn of(server: &Target) -> Result<Self> {
        let program = std::fs::read_link(format!("/proc/{}/exe", server.pid))?;
        Ok(Self { program, admin: server.admin().await? })
    }

    /// Builds a plugin's folder under `tests/`, and returns the component.
    pub(in crate::workload) async fn built(&self, folder: &str, plugin: &str) -> Result<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let mut build = Command::new(&self.program);
        build.arg("build").arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
        let status = build.status().await.context("failed to start millrace build")?;
        ensure!(status.success(), "millrace build {} failed", folder.display());
        let component = folder.join(format!(".millrace/{plugin}.wasm"));
        std::fs::read(&component).with_context(|| format!("failed to read {component:?}"))
    }

    /// Exchanges a plugin for a component, and waits for the end. It does what `millrace swap`
    /// does, without a process that competes with the server.
    pub(in crate::workload) async fn swap(
        &self,
        plugin: &str,
        component: &[u8],
        query: &str,
    ) -> Result<ExchangeResult> {
        let path = format!("/plugins/{plugin}/swap?by=bench{query}");
        let mut http = Http::connect(self.admin).await?;
        let lines = http.post_for_lines(&path, "application/wasm", component).await?;
        let (mut outcome, mut pause_ms) = (None, 0.0);
        for line in &lines {
            let detail = line["detail"].as_str().unwrap_or_default();
            if let Some((_, pause)) = detail.split_once("after a pause of ") {
                let micros = pause.split(' ').next().and_then(|micros| micros.parse::<f64>().ok());
                pause_ms = micros.with_context(|| format!("no pause in {line}"))? / 1e3;
            }
            outcome = line["outcome"].as_str().map(str::to_owned).or(outcome);
        }
        let outcome = outcome.with_context(|| format!("no outcome in {lines:?}"))?;
        Ok(ExchangeResult { outcome, pause_ms })
    }
}

/// A component that differs from another only by its number, in a custom section. It has another
/// hash, so it is compiled again.
pub(in crate::workload) fn numbered(component: &[u8], number: usize) -> Result<Vec<u8>> {
    let (name, number) = (b"number", u64::try_from(number)?.to_le_bytes());
    let mut section = vec![u8::try_from(name.len())?];
    section.extend_from_slice(name);
    section.extend_from_slice(&number);
    let mut numbered = component.to_vec();
    numbered.extend([0, u8::try_from(section.len())?]);
    numbered.extend(section);
    Ok(numbered)
}
