//! The interfaces that a plugin exports, of whichever track it was built against.
//!
//! The host speaks the open track. What a plugin of an earlier one takes and gives is converted
//! in [`v0_1_types`], call by call.
//!
//! A new export of the open track alone is bound in [`super::component`], as `presence-handler` is.
//! One of both tracks is in `interfaces!`, and its functions in `same!` where both take and give the
//! same, or in `converted!`.

mod v0_1_types;

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};

use self::v0_1_types::IntoOpen as _;
use super::bindings::exports::millrace::plugin as v0_2;
use super::bindings::millrace::plugin::{grants, types};
use super::bindings::v0_1::exports::millrace::plugin as v0_1;
use super::host::State;

/// An exported interface in each track: where its functions are in a component, and its functions
/// in an instance.
macro_rules! interfaces {
    ($($interface:ident: $Guest:ident, $Indices:ident;)*) => {$(
        /// Where the functions of the interface are in a component.
        #[derive(Clone)]
        pub(super) enum $Indices {
            V0_1(v0_1::$interface::GuestIndices),
            V0_2(v0_2::$interface::GuestIndices),
        }

        /// The functions of the interface in an instance.
        #[derive(Clone)]
        pub(super) enum $Guest {
            V0_1(v0_1::$interface::Guest),
            V0_2(v0_2::$interface::Guest),
        }

        impl $Indices {
            /// The functions of the interface; `None` if the component does not export it.
            pub(super) fn of(component: &InstancePre<State>) -> Option<Self> {
                let open = v0_2::$interface::GuestIndices::new(component).map(Self::V0_2);
                let open = open.ok();
                open.or_else(|| v0_1::$interface::GuestIndices::new(component).map(Self::V0_1).ok())
            }

            /// Looks the functions up in an instance.
            pub(super) fn load(
                &self,
                store: &mut Store<State>,
                instance: &Instance,
            ) -> Result<$Guest> {
                match self {
                    Self::V0_1(indices) => indices.load(store, instance).map($Guest::V0_1),
                    Self::V0_2(indices) => indices.load(store, instance).map($Guest::V0_2),
                }
            }
        }
    )*};
}

interfaces! {
    batch: BatchGuest, BatchIndices;
    channel: ChannelGuest, ChannelIndices;
    dispatcher: DispatcherGuest, DispatcherIndices;
    dispatcher_state: DispatcherStateGuest, DispatcherStateIndices;
    migration: MigrationGuest, MigrationIndices;
    needs: NeedsGuest, NeedsIndices;
    outgoing: OutgoingGuest, OutgoingIndices;
    self_test: SelfTestGuest, SelfTestIndices;
    socket: SocketGuest, SocketIndices;
    tasks: TasksGuest, TasksIndices;
    worker: WorkerGuest, WorkerIndices;
}

/// Functions that take and give the same in both tracks.
macro_rules! same {
    ($($Guest:ident { $(fn $function:ident(&self $(, $name:ident: $ty:ty)*) -> $result:ty;)* })*) => {$(
        impl $Guest {$(
            pub(super) async fn $function(
                &self,
                store: &mut Store<State>,
                $($name: $ty,)*
            ) -> Result<$result> {
                match self {
                    Self::V0_1(guest) => guest.$function(store, $($name),*).await,
                    Self::V0_2(guest) => guest.$function(store, $($name),*).await,
                }
            }
        )*}
    )*};
}

same! {
    DispatcherStateGuest {
        fn call_snapshot(&self) -> Vec<u8>;
        fn call_restore(&self, state: &[u8]) -> ();
    }
    ChannelGuest {
        fn call_topics(&self) -> Vec<String>;
    }
    MigrationGuest {
        fn call_schemas(&self) -> Vec<u32>;
        fn call_migrate(
            &self, topic: &str, assigns: types::AssignsParam<'_>
        ) -> std::result::Result<types::AssignsResult, String>;
    }
    NeedsGuest {
        fn call_list_needs(&self) -> Vec<grants::Need>;
    }
    OutgoingGuest {
        fn call_intercepts(&self) -> Vec<String>;
    }
    SelfTestGuest {
        fn call_run(&self) -> std::result::Result<(), String>;
    }
}

/// Functions whose types differ: what is handed over and what comes back is converted for a plugin
/// of the earlier track.
macro_rules! converted {
    ($($Guest:ident {
        $(fn $function:ident(&self $(, $name:ident: $ty:ty)*) -> $result:ty;)*
    })*) => {$(
        impl $Guest {$(
            pub(super) async fn $function(
                &self,
                store: &mut Store<State>,
                $($name: $ty,)*
            ) -> Result<$result> {
                match self {
                    Self::V0_1(guest) => {
                        let back = guest.$function(store, $($name.into()),*).await?;
                        Ok(back.into_open())
                    }
                    Self::V0_2(guest) => guest.$function(store, $($name),*).await,
                }
            }
        )*}
    )*};
}

converted! {
    BatchGuest {
        fn call_handle_in(&self, messages: v0_2::batch::Messages<'_>) -> ();
    }
    ChannelGuest {
        fn call_join(
            &self, socket: types::Socket<'_>, assigns: types::AssignsParam<'_>,
            params: types::PayloadParam<'_>
        ) -> std::result::Result<v0_2::channel::Joined, types::PayloadResult>;
        fn call_handle_in(
            &self, socket: types::Socket<'_>, assigns: types::AssignsParam<'_>,
            message: v0_2::channel::Message<'_>
        ) -> types::Outcome;
        fn call_handle_info(
            &self, socket: types::Socket<'_>, assigns: types::AssignsParam<'_>,
            info: v0_2::channel::Info<'_>
        ) -> types::Outcome;
        fn call_terminate(
            &self, socket: types::Socket<'_>, assigns: types::AssignsParam<'_>, reason: &str
        ) -> types::Outcome;
    }
    DispatcherGuest {
        fn call_init(&self) -> std::result::Result<v0_2::dispatcher::Columns, String>;
        fn call_subscribe(&self, consumer: v0_2::dispatcher::Consumer<'_>) -> ();
        fn call_cancel(&self, consumer: u32) -> ();
    }
    OutgoingGuest {
        fn call_handle_out(
            &self, socket: types::Socket<'_>, assigns: types::AssignsParam<'_>,
            message: types::PushParam<'_>
        ) -> types::Outcome;
    }
    SocketGuest {
        fn call_connect(
            &self, request: v0_2::socket::Request<'_>
        ) -> std::result::Result<v0_2::socket::Connected, v0_2::socket::Refusal>;
    }
    TasksGuest {
        fn call_run(
            &self, socket: types::Socket<'_>, name: &str, payload: types::PayloadParam<'_>
        ) -> Vec<types::Effect>;
    }
    WorkerGuest {
        fn call_handle(&self, batch: v0_2::worker::Batch<'_>) -> v0_2::worker::Answer;
    }
}

impl DispatcherGuest {
    pub(super) async fn call_dispatch(
        &self,
        store: &mut Store<State>,
        offer: v0_2::dispatcher::Offer<'_>,
    ) -> Result<v0_2::dispatcher::Assignments> {
        match self {
            Self::V0_1(guest) => {
                let asks = v0_1_types::asks(offer.asks);
                let back = guest.call_dispatch(store, v0_1_types::offer(&offer, &asks)).await?;
                Ok(back.into_open())
            }
            Self::V0_2(guest) => guest.call_dispatch(store, offer).await,
        }
    }
}
