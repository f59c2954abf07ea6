//! The interface in `wit/` as Rust types, one world for each thing a plugin may
//! be. Their types are the same.

wit_bindgen::generate!({
    world: "channel-plugin",
    path: "../../wit/v0.1",
    pub_export_macro: true,
    export_macro_name: "export_channel_plugin",
    default_bindings_module: "millrace_plugin::bindings",
});

/// The optional `outgoing`.
pub mod outgoing {
    wit_bindgen::generate!({
        world: "outgoing-plugin",
        path: "../../wit/v0.1",
        pub_export_macro: true,
        export_macro_name: "export_outgoing_plugin",
        default_bindings_module: "millrace_plugin::bindings::outgoing",
        with: {
            "millrace:plugin/types@0.1.0": crate::bindings::millrace::plugin::types,
            "millrace:plugin/log@0.1.0": crate::bindings::millrace::plugin::log,
            "millrace:plugin/metrics@0.1.0": crate::bindings::millrace::plugin::metrics,
            "millrace:plugin/config@0.1.0": crate::bindings::millrace::plugin::config,
            "millrace:plugin/clock@0.1.0": crate::bindings::millrace::plugin::clock,
            "millrace:plugin/random@0.1.0": crate::bindings::millrace::plugin::random,
            "millrace:plugin/http@0.1.0": crate::bindings::millrace::plugin::http,
            "millrace:plugin/call@0.1.0": crate::bindings::millrace::plugin::call,
        },
    });
}

/// The optional `socket`.
pub mod socket {
    wit_bindgen::generate!({
        world: "socket-plugin",
        path: "../../wit/v0.1",
        pub_export_macro: true,
        export_macro_name: "export_socket_plugin",
        default_bindings_module: "millrace_plugin::bindings::socket",
        with: {
            "millrace:plugin/types@0.1.0": crate::bindings::millrace::plugin::types,
            "millrace:plugin/log@0.1.0": crate::bindings::millrace::plugin::log,
            "millrace:plugin/metrics@0.1.0": crate::bindings::millrace::plugin::metrics,
            "millrace:plugin/config@0.1.0": crate::bindings::millrace::plugin::config,
            "millrace:plugin/clock@0.1.0": crate::bindings::millrace::plugin::clock,
            "millrace:plugin/random@0.1.0": crate::bindings::millrace::plugin::random,
            "millrace:plugin/http@0.1.0": crate::bindings::millrace::plugin::http,
            "millrace:plugin/call@0.1.0": crate::bindings::millrace::plugin::call,
        },
    });
}

/// The optional `tasks`.
pub mod tasks {
    wit_bindgen::generate!({
        world: "tasks-plugin",
        path: "../../wit/v0.1",
        pub_export_macro: true,
        export_macro_name: "export_tasks_plugin",
        default_bindings_module: "millrace_plugin::bindings::tasks",
        with: {
            "millrace:plugin/types@0.1.0": crate::bindings::millrace::plugin::types,
            "millrace:plugin/log@0.1.0": crate::bindings::millrace::plugin::log,
            "millrace:plugin/metrics@0.1.0": crate::bindings::millrace::plugin::metrics,
            "millrace:plugin/config@0.1.0": crate::bindings::millrace::plugin::config,
            "millrace:plugin/clock@0.1.0": crate::bindings::millrace::plugin::clock,
            "millrace:plugin/random@0.1.0": crate::bindings::millrace::plugin::random,
            "millrace:plugin/http@0.1.0": crate::bindings::millrace::plugin::http,
            "millrace:plugin/call@0.1.0": crate::bindings::millrace::plugin::call,
        },
    });
}
