//! The interface in `wit/` as Rust types, with one world for each interface that a plugin may
//! export. All worlds share their types.

wit_bindgen::generate!({
    world: "channel-plugin",
    path: "../../wit/v0.2",
    pub_export_macro: true,
    export_macro_name: "export_channel_plugin",
    default_bindings_module: "millrace_plugin::bindings",
});

/// Generates another world over the same types and imports.
macro_rules! world {
    ($world:literal, $export:literal, $module:literal) => {
        wit_bindgen::generate!({
            world: $world,
            path: "../../wit/v0.2",
            pub_export_macro: true,
            export_macro_name: $export,
            default_bindings_module: $module,
            with: {
                "millrace:plugin/types@0.2.0": crate::bindings::millrace::plugin::types,
                "millrace:plugin/log@0.2.0": crate::bindings::millrace::plugin::log,
                "millrace:plugin/metrics@0.2.0": crate::bindings::millrace::plugin::metrics,
                "millrace:plugin/config@0.2.0": crate::bindings::millrace::plugin::config,
                "millrace:plugin/clock@0.2.0": crate::bindings::millrace::plugin::clock,
                "millrace:plugin/random@0.2.0": crate::bindings::millrace::plugin::random,
                "millrace:plugin/http@0.2.0": crate::bindings::millrace::plugin::http,
                "millrace:plugin/call@0.2.0": crate::bindings::millrace::plugin::call,
                "millrace:plugin/grants@0.2.0": crate::bindings::millrace::plugin::grants,
                "millrace:plugin/presence@0.2.0": crate::bindings::millrace::plugin::presence,
            },
        });
    };
}

/// The world of the optional interface `outgoing`.
pub mod outgoing {
    world!("outgoing-plugin", "export_outgoing_plugin", "millrace_plugin::bindings::outgoing");
}

/// The world of the optional interface `socket`.
pub mod socket {
    world!("socket-plugin", "export_socket_plugin", "millrace_plugin::bindings::socket");
}

/// The world of the optional interface `batch`.
pub mod batch {
    world!("batch-plugin", "export_batch_plugin", "millrace_plugin::bindings::batch");
}

/// The world of the optional interface `presence-handler`.
pub mod presence {
    world!("presence-plugin", "export_presence_plugin", "millrace_plugin::bindings::presence");
}

/// The world of the optional interface `tasks`.
pub mod tasks {
    world!("tasks-plugin", "export_tasks_plugin", "millrace_plugin::bindings::tasks");
}

/// The world of the optional interface `migration`.
pub mod migration {
    world!("migration-plugin", "export_migration_plugin", "millrace_plugin::bindings::migration");
}

/// The world of the optional interface `self-test`.
pub mod self_test {
    world!("self-test-plugin", "export_self_test_plugin", "millrace_plugin::bindings::self_test");
}

/// The world of the optional interface `needs`.
pub mod needs {
    world!("needs-plugin", "export_needs_plugin", "millrace_plugin::bindings::needs");
}

/// The world of the optional interface `worker`.
pub mod worker {
    world!("worker-plugin", "export_worker_plugin", "millrace_plugin::bindings::worker");
}

/// The world of the optional interface `dispatcher`.
pub mod dispatcher {
    world!(
        "dispatcher-plugin",
        "export_dispatcher_plugin",
        "millrace_plugin::bindings::dispatcher"
    );
}
