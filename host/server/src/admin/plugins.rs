//! `/plugins`: the loaded plugins, and how they do.

use hyper::Method;
use millrace_telemetry::Metric;
use serde_json::{Value, json};

use super::schema::{boolean, fields, integer, list, map, object, string};
use super::{AdminRequest, Answer, Problem, Route, answer, ready, schema, snapshot};
use crate::node::Node;
use crate::plugin::Plugin;

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/plugins",
        name: "list_plugins",
        summary: "The plugins, in the order of their names.",
        query: &[],
        body: None,
        answer: || list(plugin_schema()),
        run: |request| ready(list_plugins(&request)),
    },
    Route {
        method: Method::GET,
        path: "/plugins/{name}",
        name: "get_plugin",
        summary: "One plugin, with its last faults.",
        query: &[],
        body: None,
        answer: || {
            let mut all = plugin_fields();
            all.push(("last_faults", list(snapshot::fault())));
            object(&all)
        },
        run: |request| ready(get_plugin(&request)),
    },
];

fn list_plugins(request: &AdminRequest) -> Answer {
    let node = &request.node;
    let all = node.registry.plugins().iter().map(|plugin| view(plugin, node)).collect();
    answer(&Value::Array(all))
}

fn get_plugin(request: &AdminRequest) -> Answer {
    let (node, name) = (&request.node, request.parameter("name"));
    let plugin = node.registry.plugin(name).ok_or_else(|| {
        let known = node.registry.plugins().iter().map(|plugin| plugin.name().to_owned());
        Problem::unknown("plugin", name, known.collect())
    })?;
    let faults = json!(node.faults.of(name));
    answer(&schema::with(view(&plugin, node), "last_faults", faults))
}

fn view(plugin: &Plugin, node: &Node) -> Value {
    let (name, live) = (plugin.name(), plugin.live());
    let component = live.component();
    let topics: Vec<_> = component.topics().iter().map(ToString::to_string).collect();
    json!({
        "name": name,
        "version": component.version(),
        "sha256": component.sha256(),
        "canary": plugin.canary().map(|(canary, share)| {
            json!({ "version": canary.component().version(), "share": share.to_string() })
        }),
        "previous": plugin.previous().as_ref().map(|previous| {
            previous.component().version().to_owned()
        }),
        "topics": topics,
        "exports": component.exports(),
        "limits": component.limits(),
        "instances": live.instances(),
        "held": live.is_held(),
        "faults": node.metrics.totals_of(Metric::WasmFault, name),
    })
}

fn plugin_schema() -> Value {
    object(&plugin_fields())
}

fn plugin_fields() -> Vec<(&'static str, Value)> {
    vec![
        ("name", string()),
        ("version", schema::about(string(), "The first digits of the component's SHA-256.")),
        ("sha256", string()),
        ("canary", schema::nullable(object(&[("version", string()), ("share", string())]))),
        ("previous", schema::about(schema::nullable(string()), "What a rollback makes live.")),
        ("topics", list(string())),
        ("exports", schema::about(list(string()), "Interfaces it exports.")),
        ("limits", limits_schema()),
        ("instances", object(&fields(&["live", "idle", "waiting", "max"], &integer()))),
        ("held", schema::about(boolean(), "Too many of its calls trapped; it is not called.")),
        ("faults", schema::about(map(integer()), "Calls that came to nothing, by cause.")),
    ]
}

fn limits_schema() -> Value {
    let numbers = [
        "fuel",
        "fuel_per_byte",
        "dispatcher_fuel",
        "dispatcher_fuel_per_row",
        "max_memory_bytes",
        "max_stack_bytes",
        "max_total_memory_bytes",
        "max_assigns_bytes",
        "max_effects",
        "max_effect_bytes",
        "max_metrics",
        "max_instances",
        "max_concurrency",
        "join_timeout_ms",
        "call_timeout_ms",
        "task_timeout_ms",
        "max_tasks",
    ];
    let mut all = fields(&numbers, &integer());
    all.push(("max_task_instances", schema::nullable(integer())));
    all.push(("fresh_instances", schema::boolean()));
    all.push(("on_faults", schema::one_of(&["reload", "closed", "open"])));
    all.push(("on_migrate", schema::one_of(&["rejoin", "keep-old", "reject"])));
    object(&all)
}
