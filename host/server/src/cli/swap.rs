//! `millrace swap`, `rollback`, `promote` and `history`: another version of a plugin while clients
//! stay connected.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use form_urlencoded::Serializer;
use hyper::Method;
use serde_json::Value;

use super::admin::AdminArgs;
use super::duration::duration;
use super::table::Table;
use super::value::{number, text};
use super::{print, say};
use crate::plugin::Share;

/// What to make live, and how.
#[derive(Clone, Debug, Args)]
pub(super) struct SwapArgs {
    /// The plugin, by its name in `millrace.toml`.
    #[arg(value_parser = super::admin::name)]
    name: String,
    /// Its new component. A signature is read from `FILE.sig`, if that is there.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Only for this share of the connections, as in 5%, until it is promoted.
    #[arg(long, value_name = "SHARE")]
    canary: Option<Share>,
    /// Watch it for so long, as in 30s or 500ms, and roll it back if too many of its
    /// calls fail. A canary that does well is promoted after that.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    watch: Option<Duration>,
}

impl SwapArgs {
    /// A swap for all connections at once, watched for as long as the server does by default.
    pub(super) fn at_once(name: String, file: PathBuf) -> Self {
        Self { name, file, canary: None, watch: None }
    }
}

/// Uploads a component, and prints each step of the exchange.
pub(super) async fn swap(server: &AdminArgs, args: &SwapArgs) -> anyhow::Result<()> {
    let SwapArgs { name, file, canary, watch } = args;
    let read = |path: &Path| std::fs::read(path);
    let component = read(file).with_context(|| format!("failed to read {}", file.display()))?;
    let mut beside = file.clone().into_os_string();
    beside.push(".sig");
    let mut query = Serializer::new(String::new());
    query.append_pair("by", &by());
    if let Some(canary) = canary {
        query.append_pair("canary", &canary.to_string());
    }
    if let Some(watch) = watch {
        query.append_pair("watch_ms", &watch.as_millis().to_string());
    }
    if let Ok(signature) = read(Path::new(&beside)) {
        let text = match signature.len() {
            64 => BASE64.encode(signature),
            _ => String::from_utf8_lossy(&signature).trim().to_owned(),
        };
        query.append_pair("signature", &text);
    }
    let path = format!("/plugins/{name}/swap?{}", query.finish());
    let mut last = Value::Null;
    server
        .upload(&path, component.into(), |line| {
            match server.json {
                true => say(&line.to_string()),
                false if line.get("step").is_some() && line.get("outcome").is_none() => {
                    say(&step(line));
                }
                false => {}
            }
            last = line.clone();
        })
        .await?;
    ended(server, name, &last)
}

/// Makes the version before live again or withdraws the canary (`rollback`), or makes the canary
/// live (`promote`).
pub(super) async fn exchange(server: &AdminArgs, name: &str, what: &str) -> anyhow::Result<()> {
    let query = Serializer::new(String::new()).append_pair("by", &by()).finish();
    let path = format!("/plugins/{name}/{what}?{query}");
    let swapped = server.request(Method::POST, &path, None).await?;
    if server.json {
        say(&swapped.to_string());
        return Ok(());
    }
    say(&format!("{name}: {} is live", short(&swapped, "to")));
    Ok(())
}

/// Prints the last exchanges and their outcomes.
pub(super) async fn history(server: &AdminArgs, name: &str) -> anyhow::Result<()> {
    let exchanges = server.get(&format!("/plugins/{name}/history")).await?;
    let exchanges = exchanges.as_array().map(Vec::as_slice).unwrap_or_default();
    if server.json {
        exchanges.iter().for_each(|exchange| say(&exchange.to_string()));
        return Ok(());
    }
    let mut table = Table::new(&["WHEN", "BY", "FROM", "TO", "OUTCOME", "WHY"]);
    for exchange in exchanges {
        table.row([
            when(u64::try_from(number(exchange, &["at_ms"])).unwrap_or_default()),
            text(exchange, &["by"]),
            short(exchange, "from"),
            short(exchange, "to"),
            text(exchange, &["outcome"]),
            exchange.get("why").and_then(Value::as_str).unwrap_or_default().to_owned(),
        ]);
    }
    print(&table, "no version was exchanged yet");
    Ok(())
}

/// The line for one step that was done.
fn step(line: &Value) -> String {
    let took = line.get("took_ms").and_then(Value::as_f64).unwrap_or_default();
    let detail = line.get("detail").and_then(Value::as_str);
    let step = text(line, &["step"]).replace('_', "-");
    format!("{step:10} {took:>9.1} ms  {}", detail.unwrap_or_default()).trim_end().to_owned()
}

fn ended(server: &AdminArgs, name: &str, last: &Value) -> anyhow::Result<()> {
    let detail = last.get("detail").and_then(Value::as_str).unwrap_or_default();
    let line = match last.get("outcome").and_then(Value::as_str) {
        Some("live") => format!("{name}: {} is live", short(last, "to")),
        Some("canary") => {
            format!("{name}: {} is a canary; promote it or roll it back", short(last, "to"))
        }
        Some("rolled_back") => bail!("{name}: rolled back; {} is live", short(last, "from")),
        Some("superseded") => bail!("{name}: another exchange came between"),
        Some(_) => bail!("{name}: refused: {detail}"),
        None => {
            bail!("{} broke off; `millrace history {name}` tells what became of it", server.url())
        }
    };
    if !server.json {
        say(&line);
    }
    Ok(())
}

/// The first eight digits of a hash.
fn short(value: &Value, name: &str) -> String {
    text(value, &[name]).chars().take(8).collect()
}

/// The name of the user, for the history.
fn by() -> String {
    std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned())
}

fn when(at_ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written() {
        assert_eq!(when(1_709_209_845_000), "Thu, 29 Feb 2024 12:30:45 GMT");
    }
}
