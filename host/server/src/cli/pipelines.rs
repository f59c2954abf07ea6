//! `millrace pipelines`, `swap-dispatcher` and `dead-letters`: what became of events, and what to
//! do about it.

use anyhow::bail;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::admin::{AdminArgs, name};
use super::swap::{SwapArgs, swap};
use super::table::Table;
use super::value::{list, number, text, texts};
use super::{print, say};

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// Print them, the oldest first.
    List {
        /// The pipeline.
        #[arg(value_parser = name)]
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
    #[arg(value_parser = name)]
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

/// Runs `millrace pipelines`.
pub(super) async fn show(server: &AdminArgs) -> anyhow::Result<()> {
    let pipelines = server.get("/pipelines").await?;
    if server.json {
        list(&pipelines, &[]).iter().for_each(|pipeline| say(&pipeline.to_string()));
        return Ok(());
    }
    let mut table = Table::new(&[
        "PIPELINE",
        "DISPATCHERS",
        ">ACCEPTED",
        ">DONE",
        ">FAILED",
        ">DROPPED",
        ">IN FLIGHT",
        ">BUFFERED",
        ">REJECTED",
        ">DEAD LETTERS",
    ]);
    for pipeline in list(&pipelines, &[]) {
        let total = |name: &str| number(pipeline, &["totals", name]);
        let dropped = pipeline.pointer("/totals/dropped").and_then(Value::as_object);
        let dropped: i64 = dropped.into_iter().flatten().filter_map(|(_, n)| n.as_i64()).sum();
        let numbers = [
            total("accepted"),
            total("done"),
            total("failed"),
            dropped,
            total("in_flight"),
            total("buffered"),
            total("rejected"),
            number(pipeline, &["dead_letters"]),
        ];
        let names = [text(pipeline, &["pipeline"]), texts(pipeline, &["dispatchers"])];
        table.row(names.into_iter().chain(numbers.map(|n| n.to_string())));
    }
    print(&table, "there are no pipelines");
    Ok(())
}

/// Runs `millrace swap-dispatcher`.
pub(super) async fn swap_dispatcher(
    server: &AdminArgs,
    pipeline: &str,
    dispatcher: &str,
    stage: Option<usize>,
) -> anyhow::Result<()> {
    if dispatcher.ends_with(".wasm") {
        let plugin = dispatcher_plugin(server, pipeline, stage).await?;
        return swap(server, &SwapArgs::at_once(plugin, dispatcher.into())).await;
    }
    let wanted = json!({ "dispatcher": dispatcher, "stage": stage });
    let path = format!("/pipelines/{pipeline}/dispatcher");
    let view = server.request(Method::POST, &path, Some(wanted)).await?;
    if server.json {
        say(&view.to_string());
    } else {
        say(&format!("the dispatchers of {pipeline} are: {}", texts(&view, &["dispatchers"])));
    }
    Ok(())
}

/// The plugin that is the dispatcher of this stage, or of the last one.
async fn dispatcher_plugin(
    server: &AdminArgs,
    pipeline: &str,
    stage: Option<usize>,
) -> anyhow::Result<String> {
    let view = server.get(&format!("/pipelines/{pipeline}")).await?;
    let dispatchers = list(&view, &["dispatchers"]);
    let last = dispatchers.len().saturating_sub(1);
    let stage = stage.unwrap_or(last);
    let Some(dispatcher) = dispatchers.get(stage) else {
        bail!("--stage is {stage}; the last stage of the pipeline {pipeline} is {last}");
    };
    let dispatcher = text(dispatcher, &[]);
    // A plugin's name is followed by its version; built-in dispatchers have none.
    match dispatcher.split_once(' ') {
        Some((plugin, _)) => Ok(plugin.to_owned()),
        None => bail!(
            "the pipeline {pipeline} has the built-in dispatcher `{dispatcher}`, which a file \
             cannot be a version of; switch to a plugin of millrace.toml first, by its name"
        ),
    }
}

/// Runs `millrace dead-letters`.
pub(super) async fn dead_letters(server: &AdminArgs, what: &DeadLetters) -> anyhow::Result<()> {
    let (method, path, which) = match what {
        DeadLetters::List { pipeline, from } => return list_letters(server, pipeline, *from).await,
        DeadLetters::Replay(which) => (Method::POST, "dead-letters/replay", which),
        DeadLetters::Purge(which) => (Method::DELETE, "dead-letters", which),
    };
    let path = format!("/pipelines/{}/{path}", which.pipeline);
    let response = server.request(method, &path, Some(which.body())).await?;
    if server.json {
        say(&response.to_string());
    } else if response.get("purged").is_some() {
        say(&format!("{} purged", number(&response, &["purged"])));
    } else {
        let (replayed, stay) = (number(&response, &["replayed"]), number(&response, &["rejected"]));
        say(&format!("{replayed} replayed, {stay} found no room and stay"));
    }
    Ok(())
}

/// Prints the dead letters from this number on, page by page.
async fn list_letters(server: &AdminArgs, pipeline: &str, mut from: u64) -> anyhow::Result<()> {
    let columns = [">NUMBER", ">ATTEMPTS", ">STAGE", "KEY", "REASON", "PAYLOAD"];
    let mut table = Table::new(&columns);
    loop {
        let path = format!("/pipelines/{pipeline}/dead-letters?from={from}");
        let page = server.get(&path).await?;
        let letters = list(&page, &["dead_letters"]);
        for letter in letters {
            if server.json {
                say(&letter.to_string());
                continue;
            }
            let names = ["number", "attempts", "stage", "key", "reason", "payload"];
            table.row(names.map(|name| text(letter, &[name])));
        }
        let last = letters.last().and_then(|letter| letter.get("number")?.as_u64());
        let Some(last) = last else { break };
        from = last + 1;
    }
    if !server.json {
        print(&table, "there are no dead letters");
    }
    Ok(())
}
