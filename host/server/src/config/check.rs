//! Checks of what the types of `millrace.toml` cannot express.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use hyper::header::{HeaderName, HeaderValue};
use millrace_wasm::{Grants, PluginLimits};
use millrace_wire::TopicPattern;

use super::file::ConfigFile;
use super::{AdminConfig, AuthConfig, PipelineConfig, SocketConfig, TlsConfig, bounds};
use crate::secret::Secret;

/// Checks every key that has limits, and every name that must exist elsewhere. The error says what
/// was found and what is allowed.
pub(super) fn check(file: &ConfigFile) -> Result<(), String> {
    check_socket(&file.socket)?;
    if let Some(statsd) = &file.statsd {
        if !(128..=65_507).contains(&statsd.datagram_bytes) {
            let found = statsd.datagram_bytes;
            return Err(format!("statsd.datagram_bytes is {found}; 128 to 65507 are allowed"));
        }
        if !(1..=60_000).contains(&statsd.interval_ms) {
            let found = statsd.interval_ms;
            return Err(format!("statsd.interval_ms is {found}; 1 to 60000 are allowed"));
        }
    }
    file.admin.iter().try_for_each(AdminConfig::check)?;
    if file.tls.is_none() && file.admin.as_ref().is_some_and(|admin| admin.tls) {
        return Err(
            "admin.tls is true, and there is no [tls]; add it, with certificate and key".to_owned()
        );
    }
    file.auth.iter().try_for_each(AuthConfig::check).map_err(|problem| format!("auth{problem}"))?;
    file.server.check().map_err(|problem| format!("server.{problem}"))?;
    file.tls.iter().try_for_each(TlsConfig::check).map_err(|problem| format!("tls.{problem}"))?;
    no_empty_token("dashboard.token", file.dashboard.token.as_ref())?;
    let plugins: Vec<_> = file.plugins.keys().map(String::as_str).collect();
    file.pipelines.iter().try_for_each(|(name, pipeline)| pipeline.check(name, &plugins))?;
    for (name, plugin) in &file.plugins {
        check_grants(&plugin.grants, &file.pipelines, &plugins)
            .map_err(|problem| format!("plugins.{name}.grants.{problem}"))?;
    }
    file.compile.check().map_err(|problem| format!("compile.{problem}"))?;
    file.swap.check().map_err(|problem| format!("swap.{problem}"))?;
    bounds::check(file)?;
    check_limits(&file.limits).map_err(|problem| format!("limits.{problem}"))?;
    if let Some(url) = file.static_files.files.keys().find(|url| !url.starts_with('/')) {
        return Err(format!("static.files has the key {url:?}; a URL path begins with `/`"));
    }
    for (name, value) in &file.static_files.headers {
        if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
            return Err(format!(
                "static.headers has {name:?} = {value:?}, which is no header; a name of letters, \
                 digits and `-`, and a value without control characters are expected"
            ));
        }
    }
    Ok(())
}

/// Checks `[socket]`.
fn check_socket(socket: &SocketConfig) -> Result<(), String> {
    let path = &socket.path;
    if !path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#', '*', ':']) {
        return Err(format!(
            "socket.path is {path:?}; a path such as \"/socket\" is expected, with no `/` at its end"
        ));
    }
    for (key, value) in [
        ("idle_timeout_ms", socket.idle_timeout_ms),
        ("handshake_timeout_ms", socket.handshake_timeout_ms),
        ("keep_alive_timeout_ms", socket.keep_alive_timeout_ms),
        ("max_connections", socket.max_connections as u64),
        ("max_channels", socket.max_channels as u64),
        ("max_frame_bytes", socket.max_frame_bytes as u64),
        ("max_tasks", socket.max_tasks as u64),
        ("outbox_bytes", socket.outbox_bytes as u64),
        ("max_pending", socket.max_pending as u64),
        ("max_pending_bytes", socket.max_pending_bytes as u64),
        ("message_timeout_ms", socket.message_timeout_ms),
        ("stall_timeout_ms", socket.stall_timeout_ms),
    ] {
        if value == 0 {
            return Err(format!("socket.{key} is 0; at least 1 is allowed"));
        }
    }
    if let Some(found) = socket.subprotocols.iter().find(|name| !is_token(name)) {
        return Err(format!(
            "socket.subprotocols has {found:?}; a name of letters, digits and any of {TOKEN_SIGNS} \
             is expected"
        ));
    }
    for policy in &socket.outbox_policies {
        TopicPattern::parse(&policy.topics)
            .map_err(|problem| format!("socket.outbox_policies: topics: {problem}"))?;
    }
    Ok(())
}

/// An error for an empty token, which everybody knows.
pub(super) fn no_empty_token(key: &str, token: Option<&Secret>) -> Result<(), String> {
    match token {
        Some(token) if token.is_nothing() => {
            Err(format!("{key} is empty; leave it out, or give it a value"))
        }
        _ => Ok(()),
    }
}

/// The characters that a token may have besides letters and digits (RFC 9110, section 5.6.2).
const TOKEN_SIGNS: &str = "!#$%&'*+-.^_`|~";

fn is_token(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || TOKEN_SIGNS.contains(c);
    !text.is_empty() && text.chars().all(fits)
}

fn check_grants(
    grants: &Grants,
    pipelines: &BTreeMap<String, PipelineConfig>,
    plugins: &[&str],
) -> Result<(), String> {
    for (key, topics) in [("publish", &grants.publish), ("subscribe", &grants.subscribe)] {
        for topic in topics {
            TopicPattern::parse(topic).map_err(|problem| format!("{key}: {problem}"))?;
        }
    }
    let known = |name: &&String| name.ends_with('*') || plugins.contains(&name.as_str());
    if let Some(stray) = grants.reply.iter().find(|name| !known(name)) {
        return Err(format!("reply has {stray:?}; there is no [plugins.{stray}]"));
    }
    let there = |name: &&String| name.ends_with('*') || pipelines.contains_key(*name);
    match grants.enqueue.iter().find(|name| !there(name)) {
        Some(stray) => Err(format!("enqueue has {stray:?}; there is no [pipelines.{stray}]")),
        None => Ok(()),
    }
}

/// The least memory of a plugin's instances together, in bytes: enough for some instances of most
/// plugins.
const MIN_TOTAL_MEMORY_BYTES: usize = 16 * 1024 * 1024;

/// The allowed stack of a call in bytes: at least what any plugin needs, and at most what leaves
/// address space for the stacks of all calls at once.
const STACK_BYTES: RangeInclusive<usize> = 64 * 1024..=16 * 1024 * 1024;

/// The allowed memory of an instance in bytes: from one page of Wasm to all that its addresses
/// reach.
const MEMORY_BYTES: RangeInclusive<usize> = 64 * 1024..=u32::MAX as usize;

/// Checks limits of plugins: none may let nothing through, or be above what is possible. The error
/// begins with the key.
pub(super) fn check_limits(limits: &PluginLimits) -> Result<(), String> {
    for (key, value) in [
        ("fuel", limits.fuel),
        ("dispatcher_fuel", limits.dispatcher_fuel),
        ("max_effects", limits.max_effects as u64),
        ("max_effect_bytes", limits.max_effect_bytes as u64),
        ("max_tasks", limits.max_tasks as u64),
        ("max_instances", u64::from(limits.max_instances)),
        ("max_task_instances", limits.max_task_instances.map_or(1, u64::from)),
        ("max_concurrency", limits.max_concurrency as u64),
        ("join_timeout_ms", limits.join_timeout_ms),
        ("call_timeout_ms", limits.call_timeout_ms),
        ("task_timeout_ms", limits.task_timeout_ms),
    ] {
        if value == 0 {
            return Err(format!("{key} is 0; at least 1 is allowed"));
        }
    }
    if limits.max_instances > 100_000 {
        let found = limits.max_instances;
        return Err(format!("max_instances is {found}; at most 100000 are allowed"));
    }
    if limits.max_total_memory_bytes < MIN_TOTAL_MEMORY_BYTES {
        let found = limits.max_total_memory_bytes;
        return Err(format!(
            "max_total_memory_bytes is {found}; at least {MIN_TOTAL_MEMORY_BYTES} are allowed"
        ));
    }
    if !STACK_BYTES.contains(&limits.max_stack_bytes) {
        let (found, least, most) = (limits.max_stack_bytes, STACK_BYTES.start(), STACK_BYTES.end());
        return Err(format!("max_stack_bytes is {found}; {least} to {most} are allowed"));
    }
    if !MEMORY_BYTES.contains(&limits.max_memory_bytes) {
        let (found, least, most) =
            (limits.max_memory_bytes, MEMORY_BYTES.start(), MEMORY_BYTES.end());
        return Err(format!("max_memory_bytes is {found}; {least} to {most} are allowed"));
    }
    if let Some(found) = limits.max_task_instances.filter(|tasks| *tasks > limits.max_instances) {
        let most = limits.max_instances;
        return Err(format!(
            "max_task_instances is {found}, and max_instances {most}; at most that is allowed, and \
             without it there are three quarters"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::App;

    fn load(text: &str) -> Result<App, String> {
        App::parse("/app".into(), text)
    }

    #[test]
    fn the_payload_of_a_timer_may_be_left_out() {
        let app = load(
            "[plugins.w]\npath = \"w\"\n[pipelines.p]\nworker.plugin = \"w\"\n\
             timer = { every_ms = 1000 }",
        )
        .unwrap();
        let timer = app.pipelines["p"].timer.as_ref().unwrap();
        assert_eq!(serde_json::to_string(&timer.payload).unwrap(), "{}");
    }

    #[test]
    fn the_stack_is_one_for_all_plugins() {
        let app = load("[limits]\nmax_stack_bytes = 1048576\n[plugins.a]\npath = \"p\"").unwrap();
        assert_eq!(app.plugins[0].limits.max_stack_bytes, 1 << 20);
        for (text, problem) in [
            ("limits = { max_stack_bytes = 1048576 }", "one for all plugins; set it in [limits]"),
            ("[limits]\nmax_stack_bytes = 1", "limits.max_stack_bytes is 1; 65536 to 16777216 are"),
        ] {
            let error = load(&format!("[plugins.a]\npath = \"p\"\n{text}")).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
