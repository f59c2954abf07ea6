//! `millrace pipelines` and `millrace dead-letters`: what an operator asks a
//! server that runs.

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::say;

/// Which server.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// The server's address.
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:4000")]
    server: Uri,
    /// Its `admin.token`, if it has one.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "MILLRACE_ADMIN_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// Print them, one JSON object in each line, the oldest first.
    List {
        /// The pipeline.
        pipeline: String,
        /// From this number on.
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// Handle them anew, from the first stage on.
    Replay(Which),
    /// Throw them away.
    Purge(Which),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The pipeline.
    pipeline: String,
    /// Their numbers; all of them if none are given.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    numbers: Option<Vec<u64>>,
}

impl Which {
    fn body(&self) -> Value {
        self.numbers.as_ref().map_or_else(|| json!({}), |numbers| json!({ "numbers": numbers }))
    }
}

/// `millrace pipelines`: one JSON object in each line.
pub(super) async fn show(server: &ServerArgs) -> anyhow::Result<()> {
    let all = server.ask(Method::GET, "", None).await?;
    for pipeline in all.as_array().into_iter().flatten() {
        say(&pipeline.to_string());
    }
    Ok(())
}

/// `millrace dispatcher`.
pub(super) async fn dispatcher(
    server: &ServerArgs,
    pipeline: &str,
    dispatcher: &str,
    stage: Option<usize>,
) -> anyhow::Result<()> {
    let wanted = json!({ "dispatcher": dispatcher, "stage": stage });
    let view = server.ask(Method::POST, &format!("/{pipeline}/dispatcher"), Some(wanted)).await?;
    say(&view.get("dispatchers").unwrap_or(&Value::Null).to_string());
    Ok(())
}

/// `millrace dead-letters`.
pub(super) async fn dead_letters(server: &ServerArgs, what: &DeadLetters) -> anyhow::Result<()> {
    match what {
        DeadLetters::List { pipeline, from } => list(server, pipeline, *from).await,
        DeadLetters::Replay(which) => {
            let path = format!("/{}/dead-letters/replay", which.pipeline);
            say(&server.ask(Method::POST, &path, Some(which.body())).await?.to_string());
            Ok(())
        }
        DeadLetters::Purge(which) => {
            let path = format!("/{}/dead-letters", which.pipeline);
            say(&server.ask(Method::DELETE, &path, Some(which.body())).await?.to_string());
            Ok(())
        }
    }
}

/// Page by page.
async fn list(server: &ServerArgs, pipeline: &str, mut from: u64) -> anyhow::Result<()> {
    loop {
        let path = format!("/{pipeline}/dead-letters?from={from}");
        let page = server.ask(Method::GET, &path, None).await?;
        let letters = page.get("dead_letters").and_then(Value::as_array);
        let letters = letters.map(Vec::as_slice).unwrap_or_default();
        for letter in letters {
            say(&letter.to_string());
        }
        let last = letters.last().and_then(|letter| letter.get("number")?.as_u64());
        let Some(last) = last else { return Ok(()) };
        from = last + 1;
    }
}

impl ServerArgs {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        if self.server.scheme_str() != Some("http") {
            bail!("--server is {}; one such as http://127.0.0.1:4000 is expected", self.server);
        }
        let url = format!("{}/pipelines{path}", self.server.to_string().trim_end_matches('/'));
        let mut request = Request::builder().method(method).uri(&url);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)))?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await;
        let response = response.with_context(|| format!("failed to reach {}", self.server))?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body).trim());
        }
        serde_json::from_slice(&body).context("the answer is no JSON")
    }
}
