//! Checks for values that would let nothing through, or that contradict each other.

use super::file::ConfigFile;
use super::{EgressConfig, MemoryConfig};

/// The least that `memory.max_bytes` may be, in bytes: twice the memory of a server without
/// clients.
const MIN_SERVER_BYTES: u64 = 64 * 1024 * 1024;

/// Checks `[memory]`, `[drain]`, `[longpoll]`, `[presence]`, and each plugin except for its limits.
/// The error begins with the key.
pub(super) fn check(file: &ConfigFile) -> Result<(), String> {
    let MemoryConfig { max_bytes } = file.memory;
    if (1..MIN_SERVER_BYTES).contains(&max_bytes) {
        return Err(format!(
            "memory.max_bytes is {max_bytes}; at least {MIN_SERVER_BYTES} are allowed, or 0 for \
             four fifths of the machine's"
        ));
    }
    file.drain.check().map_err(|problem| format!("drain.{problem}"))?;
    file.longpoll.check().map_err(|problem| format!("longpoll.{problem}"))?;
    file.presence.check().map_err(|problem| format!("presence.{problem}"))?;
    for (name, plugin) in &file.plugins {
        let below = |problem| format!("plugins.{name}.{problem}");
        check_egress(&plugin.http).map_err(below)?;
        let is_sha256 =
            |pin: &&String| pin.len() == 64 && pin.chars().all(|c| c.is_ascii_hexdigit());
        if let Some(found) = plugin.sha256.iter().find(|pin| !is_sha256(pin)) {
            return Err(below(format!("sha256 has {found:?}; 64 hexadecimal digits are expected")));
        }
    }
    Ok(())
}

fn check_egress(http: &EgressConfig) -> Result<(), String> {
    for (key, value) in
        [("timeout_ms", http.timeout_ms), ("max_concurrent", http.max_concurrent as u64)]
    {
        if value == 0 {
            return Err(format!("http.{key} is 0; at least 1 is allowed"));
        }
    }
    let without_hosts =
        [("addresses", !http.addresses.is_empty()), ("own_listeners", http.own_listeners)];
    match without_hosts.iter().find(|(_, is_set)| *is_set && http.hosts.is_empty()) {
        Some((key, _)) => Err(format!(
            "http.{key} is set and http.hosts has no host, so no request is allowed; list the \
             hosts, or leave {key} out"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::App;

    fn plugin(line: &str) -> String {
        format!("[plugins.a]\npath = \"p\"\n{line}")
    }

    fn piped(line: &str) -> String {
        format!("[pipelines.p]\nworker.plugin = \"a\"\n{line}\n[plugins.a]\npath = \"p\"")
    }

    #[test]
    fn what_would_let_nothing_through_is_refused() {
        for (text, problem) in [
            ("[socket]\nmax_frame_bytes = 0".to_owned(), "socket.max_frame_bytes is 0; at least 1"),
            ("[socket]\nmax_channels = 0".to_owned(), "socket.max_channels is 0; at least 1"),
            ("[socket]\nmax_tasks = 0".to_owned(), "socket.max_tasks is 0; at least 1"),
            ("[socket]\noutbox_bytes = 0".to_owned(), "socket.outbox_bytes is 0; at least 1"),
            (
                "[memory]\nmax_bytes = 1000".to_owned(),
                "memory.max_bytes is 1000; at least 67108864",
            ),
            ("[limits]\ndispatcher_fuel = 0".to_owned(), "limits.dispatcher_fuel is 0; at least 1"),
            ("[limits]\nmax_memory_bytes = 9".to_owned(), "limits.max_memory_bytes is 9; 65536 to"),
            ("[limits]\nmax_effects = 0".to_owned(), "limits.max_effects is 0; at least 1"),
            ("[limits]\nmax_effect_bytes = 0".to_owned(), "limits.max_effect_bytes is 0; at least"),
            ("[limits]\nmax_tasks = 0".to_owned(), "limits.max_tasks is 0; at least 1"),
            (
                "[swap]\nmax_upload_bytes = 0".to_owned(),
                "swap.max_upload_bytes is 0; 1 to 268435456",
            ),
            ("[swap]\nsamples = 100000".to_owned(), "swap.samples is 100000; at most 10000"),
            (plugin("http = { timeout_ms = 0 }"), "plugins.a.http.timeout_ms is 0; at least 1"),
            (plugin("http = { max_concurrent = 0 }"), "plugins.a.http.max_concurrent is 0; at"),
            (plugin("sha256 = [\"ab12\"]"), "plugins.a.sha256 has \"ab12\"; 64 hexadecimal digits"),
            (piped("deadline_ms = 0"), "pipelines.p.deadline_ms is 0; at least 1"),
            (piped("worker.timeout_ms = 0"), "pipelines.p.worker.timeout_ms is 0; at least 1"),
            (piped("buffer.max_bytes = 0"), "pipelines.p.buffer.max_bytes is 0; at least 1"),
            (piped("buffer.max_event_bytes = 0"), "pipelines.p.buffer.max_event_bytes is 0; at"),
            (piped("http.max_body_bytes = 0"), "pipelines.p.http.max_body_bytes is 0; at least 1"),
            (piped("timer.every_ms = 0"), "pipelines.p.timer.every_ms is 0; at least 1"),
            (
                piped("dispatcher = \"broadcast\"\nworker.select = { \"/type\" = [] }"),
                "pipelines.p.worker.select has no value for \"/type\"",
            ),
        ] {
            let error = App::parse("/app".into(), &text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (text, problem) in [
            (
                "[drain]\nover_ms = 3\ntimeout_ms = 2".to_owned(),
                "drain.over_ms is 3, and timeout_ms 2, after",
            ),
            (
                plugin("limits = { max_instances = 8, max_task_instances = 9 }"),
                "plugins.a.limits.max_task_instances is 9, and max_instances 8; at most that",
            ),
            (
                plugin("http = { addresses = [\"10.0.0.0/8\"] }"),
                "plugins.a.http.addresses is set and http.hosts has no host",
            ),
            (plugin("http = { own_listeners = true }"), "plugins.a.http.own_listeners is set and"),
            (
                piped("retry = { backoff_ms = 20, max_backoff_ms = 10 }"),
                "pipelines.p.retry.backoff_ms is 20, and max_backoff_ms 10; at most that",
            ),
        ] {
            let error = App::parse("/app".into(), &text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn none_is_a_bound_where_it_leaves_something() {
        for text in [
            "[socket]\nmax_subscriptions = 0\nmax_messages_per_second = 0\nmax_faults = 0",
            "[drain]\nover_ms = 0\ntimeout_ms = 0",
            "[limits]\nfuel_per_byte = 0\ndispatcher_fuel_per_row = 0\nmax_metrics = 0",
            "[limits]\nmax_assigns_bytes = 0",
            "[metrics]\nmax_events = 0",
            "[swap]\nsamples = 0\nkeep = 0\nmin_calls = 0\nmax_fault_rate = 0.0",
        ] {
            App::parse("/app".into(), text).unwrap();
        }
    }
}
