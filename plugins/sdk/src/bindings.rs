//! The interface in `wit/` as Rust types, one world for each thing a plugin may
//! be. Their types are the same.

wit_bindgen::generate!({
    world: "channel-plugin",
    path: "../../wit/v0.1",
    pub_export_macro: true,
    export_macro_name: "export_channel_plugin",
    default_bindings_module: "millrace_plugin::bindings",
});

/// Another world, over the same types and imports.
macro_rules! world {
    ($world:literal, $export:literal, $module:literal) => {
        wit_bindgen::generate!({
            world: $world,
            path: "../../wit/v0.1",
            pub_export_macro: true,
            export_macro_name: $export,
            default_bindings_module: $module,
            with: {
                "millrace:plugin/types@0.1.0": crate::bindings::millrace::plugin::types,
                "millrace:plugin/log@0.1.0": crate::bindings::millrace::plugin::log,
                "millrace:plugin/metrics@0.1.0": crate::bindings::millrace::plugin::metrics,
                "millrace:plugin/config@0.1.0": crate::bindings::millrace::plugin::config,
                "millrace:plugin/clock@0.1.0": crate::bindings::millrace::plugin::clock,
                "millrace:plugin/random@0.1.0": crate::bindings::millrace::plugin::random,
                "millrace:plugin/http@0.1.0": crate::bindings::millrace::plugin::http,
                "millrace:plugin/call@0.1.0": crate::bindings::millrace::plugin::call,
                "millrace:plugin/grants@0.1.0": crate::bindings::millrace::plugin::grants,
            },
        });
    };
}

/// The optional `outgoing`.
pub mod outgoing {
    world!("outgoing-plugin", "export_outgoing_plugin", "millrace_plugin::bindings::outgoing");
}

/// The optional `socket`.
pub mod socket {
    world!("socket-plugin", "export_socket_plugin", "millrace_plugin::bindings::socket");
}

/// The optional `batch`.
pub mod batch {
    world!("batch-plugin", "export_batch_plugin", "millrace_plugin::bindings::batch");
}

/// The optional `tasks`.
pub mod tasks {
    world!("tasks-plugin", "export_tasks_plugin", "millrace_plugin::bindings::tasks");
}

/// The optional `migration`.
pub mod migration {
    world!("migration-plugin", "export_migration_plugin", "millrace_plugin::bindings::migration");
}

/// The optional `self-test`.
pub mod self_test {
    world!("self-test-plugin", "export_self_test_plugin", "millrace_plugin::bindings::self_test");
}

/// The optional `needs`.
pub mod needs {
    world!("needs-plugin", "export_needs_plugin", "millrace_plugin::bindings::needs");
}

/// The optional `worker`.
pub mod worker {
    world!("worker-plugin", "export_worker_plugin", "millrace_plugin::bindings::worker");
}

/// The optional `dispatcher`.
pub mod dispatcher {
    world!(
        "dispatcher-plugin",
        "export_dispatcher_plugin",
        "millrace_plugin::bindings::dispatcher"
    );
}
