//! The macros that make a crate a plugin.

/// Exports one or more [`Channel`](crate::Channel)s. If several have patterns that match a topic,
/// the channel with the most specific one serves it: an exact pattern, or else the longest prefix.
///
/// ```
/// # use millrace_plugin::prelude::*;
/// # struct Room;
/// # impl Channel for Room {
/// #     const TOPICS: &'static [&'static str] = &["room:*"];
/// #     type Assigns = ();
/// # }
/// millrace_plugin::export!(Room);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($($channel:ty),+ $(,)?) => {
        const _: () = {
            use $crate::bindings::exports::millrace::plugin::channel as interface;
            use $crate::bindings::millrace::plugin::types;

            struct Plugin;

            /// The topics of each channel.
            const CHANNELS: &[&[&str]] = &[$(<$channel as $crate::Channel>::TOPICS),+];

            impl interface::Guest for Plugin {
                fn topics() -> ::std::vec::Vec<::std::string::String> {
                    let mut topics = ::std::vec::Vec::new();
                    $(
                        let patterns = <$channel as $crate::Channel>::TOPICS;
                        topics.extend(patterns.iter().map(|topic| topic.to_string()));
                    )+
                    topics
                }

                fn join(
                    socket: types::Socket,
                    assigns: types::Assigns,
                    params: types::Payload,
                ) -> ::std::result::Result<interface::Joined, types::Payload> {
                    $(
                        if $crate::runtime::serves::<$channel>(&socket.topic, CHANNELS) {
                            return $crate::runtime::join::<$channel>(socket, assigns, params);
                        }
                    )+
                    panic!("no channel serves {:?}", socket.topic)
                }

                fn handle_in(
                    socket: types::Socket,
                    assigns: types::Assigns,
                    message: interface::Message,
                ) -> types::Outcome {
                    $(
                        if $crate::runtime::serves::<$channel>(&socket.topic, CHANNELS) {
                            return $crate::runtime::handle_in::<$channel>(
                                socket, assigns, message,
                            );
                        }
                    )+
                    panic!("no channel serves {:?}", socket.topic)
                }

                fn handle_info(
                    socket: types::Socket,
                    assigns: types::Assigns,
                    info: interface::Info,
                ) -> types::Outcome {
                    $(
                        if $crate::runtime::serves::<$channel>(&socket.topic, CHANNELS) {
                            return $crate::runtime::handle_info::<$channel>(
                                socket, assigns, info,
                            );
                        }
                    )+
                    panic!("no channel serves {:?}", socket.topic)
                }

                fn terminate(
                    socket: types::Socket,
                    assigns: types::Assigns,
                    reason: ::std::string::String,
                ) -> types::Outcome {
                    $(
                        if $crate::runtime::serves::<$channel>(&socket.topic, CHANNELS) {
                            return $crate::runtime::terminate::<$channel>(
                                socket, assigns, &reason,
                            );
                        }
                    )+
                    panic!("no channel serves {:?}", socket.topic)
                }
            }

            impl $crate::bindings::batch::exports::millrace::plugin::batch::Guest for Plugin {
                fn handle_in(
                    messages: $crate::bindings::batch::exports::millrace::plugin::batch::Messages,
                ) {
                    $crate::batch::handle_all(&messages, |current| {
                        $(
                            if $crate::runtime::serves::<$channel>(current.topic(), CHANNELS) {
                                return current.handle::<$channel>();
                            }
                        )+
                        panic!("no channel serves {:?}", current.topic())
                    });
                }
            }

            impl $crate::bindings::migration::exports::millrace::plugin::migration::Guest
                for Plugin
            {
                fn schemas() -> ::std::vec::Vec<u32> {
                    let mut schemas = ::std::vec::Vec::new();
                    $(
                        let patterns = <$channel as $crate::Channel>::TOPICS;
                        let schema = <$channel as $crate::Channel>::SCHEMA;
                        schemas.extend(patterns.iter().map(|_| schema));
                    )+
                    schemas
                }

                fn migrate(
                    topic: ::std::string::String,
                    assigns: types::Assigns,
                ) -> ::std::result::Result<types::Assigns, ::std::string::String> {
                    $(
                        if $crate::runtime::serves::<$channel>(&topic, CHANNELS) {
                            return $crate::runtime::migrate::<$channel>(&assigns);
                        }
                    )+
                    panic!("no channel serves {topic:?}")
                }
            }

            $crate::bindings::export_channel_plugin!(Plugin with_types_in $crate::bindings);
            $crate::bindings::batch::export_batch_plugin!(
                Plugin with_types_in $crate::bindings::batch
            );
            $crate::bindings::migration::export_migration_plugin!(
                Plugin with_types_in $crate::bindings::migration
            );
        };
    };
}

/// Exports an [`Outgoing`](crate::Outgoing) channel. Use it besides [`export!`].
#[macro_export]
macro_rules! export_outgoing {
    ($channel:ty) => {
        const _: () = {
            use $crate::bindings::millrace::plugin::types;
            use $crate::bindings::outgoing::exports::millrace::plugin::outgoing as interface;

            struct Plugin;

            impl interface::Guest for Plugin {
                fn intercepts() -> ::std::vec::Vec<::std::string::String> {
                    let events = <$channel as $crate::Outgoing>::INTERCEPTS;
                    events.iter().map(|event| event.to_string()).collect()
                }

                fn handle_out(
                    socket: types::Socket,
                    assigns: types::Assigns,
                    message: types::Push,
                ) -> types::Outcome {
                    $crate::runtime::handle_out::<$channel>(socket, assigns, message)
                }
            }

            $crate::bindings::outgoing::export_outgoing_plugin!(
                Plugin with_types_in $crate::bindings::outgoing
            );
        };
    };
}

/// Exports a [`Connect`](crate::Connect). Use it besides [`export!`], or alone.
#[macro_export]
macro_rules! export_connect {
    ($connect:ty) => {
        const _: () = {
            use $crate::bindings::socket::exports::millrace::plugin::socket as interface;

            struct Plugin;

            impl interface::Guest for Plugin {
                fn connect(
                    request: interface::Request,
                ) -> ::std::result::Result<interface::Connected, interface::Refusal> {
                    $crate::runtime::connect::<$connect>(&request)
                }
            }

            $crate::bindings::socket::export_socket_plugin!(
                Plugin with_types_in $crate::bindings::socket
            );
        };
    };
}

/// Exports [`Tasks`](crate::Tasks). Use it besides [`export!`].
#[macro_export]
macro_rules! export_tasks {
    ($tasks:ty) => {
        const _: () = {
            use $crate::bindings::millrace::plugin::types;
            use $crate::bindings::tasks::exports::millrace::plugin::tasks as interface;

            struct Plugin;

            impl interface::Guest for Plugin {
                fn run(
                    socket: types::Socket,
                    name: ::std::string::String,
                    payload: types::Payload,
                ) -> ::std::vec::Vec<types::Effect> {
                    $crate::runtime::run::<$tasks>(socket, &name, payload)
                }
            }

            $crate::bindings::tasks::export_tasks_plugin!(
                Plugin with_types_in $crate::bindings::tasks
            );
        };
    };
}

/// Exports a function without arguments that returns a [`Result`](crate::Result): whether this
/// version works. It is called before the version replaces another one, which stays if the function
/// fails.
///
/// ```
/// # use millrace_plugin::prelude::*;
/// fn has_key() -> Result<()> {
///     config::get("key").map(|_| ()).ok_or_else(|| Error::msg("`key` is missing in the config"))
/// }
///
/// millrace_plugin::export_self_test!(has_key);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_self_test {
    ($test:path) => {
        const _: () = {
            use $crate::bindings::self_test::exports::millrace::plugin::self_test as interface;

            struct Plugin;

            impl interface::Guest for Plugin {
                fn run() -> ::std::result::Result<(), ::std::string::String> {
                    let result: $crate::Result<()> = $test();
                    result.map_err(|error| error.to_string())
                }
            }

            $crate::bindings::self_test::export_self_test_plugin!(
                Plugin with_types_in $crate::bindings::self_test
            );
        };
    };
}

/// Names what the plugin cannot work without: `publish` with a topic, `enqueue` with a pipeline. A
/// server that does not grant all of it refuses the plugin at the start, so that it does not fail
/// later.
///
/// ```
/// millrace_plugin::export_needs!(publish "user:*", enqueue "jobs");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_needs {
    ($($what:ident $name:literal),+ $(,)?) => {
        const _: () = {
            use $crate::bindings::needs::exports::millrace::plugin::needs as interface;

            struct Plugin;

            impl interface::Guest for Plugin {
                fn list_needs() -> ::std::vec::Vec<interface::Need> {
                    ::std::vec![$($crate::runtime::need::$what($name)),+]
                }
            }

            $crate::bindings::needs::export_needs_plugin!(
                Plugin with_types_in $crate::bindings::needs
            );
        };
    };
}

/// Exports a [`Worker`](crate::Worker). Use it besides [`export!`], or alone.
#[macro_export]
macro_rules! export_worker {
    ($worker:ty) => {
        const _: () = {
            use $crate::bindings::worker::exports::millrace::plugin::worker as interface;

            struct Plugin;

            impl interface::Guest for Plugin {
                fn handle(batch: interface::Batch) -> interface::Answer {
                    $crate::runtime::work::<$worker>(batch)
                }
            }

            $crate::bindings::worker::export_worker_plugin!(
                Plugin with_types_in $crate::bindings::worker
            );
        };
    };
}

/// Exports a [`Dispatcher`](crate::dispatcher::Dispatcher). Use it besides [`export!`], or alone.
#[macro_export]
macro_rules! export_dispatcher {
    ($dispatcher:ty) => {
        const _: () = {
            use $crate::bindings::dispatcher::exports::millrace::plugin::dispatcher as interface;
            use $crate::bindings::dispatcher::exports::millrace::plugin::dispatcher_state;
            use $crate::dispatcher::Dispatcher;

            struct Plugin;

            ::std::thread_local! {
                static STATE: ::std::cell::RefCell<::std::option::Option<$dispatcher>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            fn with<T>(call: impl ::std::ops::FnOnce(&mut $dispatcher) -> T) -> T {
                STATE.with_borrow_mut(|state| call(state.as_mut().expect("`init` comes first")))
            }

            impl interface::Guest for Plugin {
                fn init() -> ::std::result::Result<interface::Columns, ::std::string::String> {
                    let made = <$dispatcher as Dispatcher>::new();
                    let dispatcher = made.map_err(|error| error.to_string())?;
                    let columns = dispatcher.columns();
                    STATE.set(::std::option::Option::Some(dispatcher));
                    ::std::result::Result::Ok(columns)
                }

                fn subscribe(consumer: interface::Consumer) {
                    with(|d| d.consumers().subscribe(consumer.id, consumer.max_demand));
                }

                fn cancel(consumer: u32) {
                    with(|d| d.consumers().cancel(consumer));
                }

                fn dispatch(offer: interface::Offer) -> interface::Assignments {
                    with(|d| $crate::runtime::dispatch(d, offer))
                }
            }

            impl dispatcher_state::Guest for Plugin {
                fn snapshot() -> ::std::vec::Vec<u8> {
                    with(|d| d.snapshot())
                }

                fn restore(state: ::std::vec::Vec<u8>) {
                    with(|d| d.restore(&state));
                }
            }

            $crate::bindings::dispatcher::export_dispatcher_plugin!(
                Plugin with_types_in $crate::bindings::dispatcher
            );
        };
    };
}
