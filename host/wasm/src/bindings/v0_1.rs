//! The interface in `wit/v0.1` as Rust types, as far as it differs from the open track.
//!
//! Types are compared by their parts and not by their names, so what is the same in both tracks
//! is one Rust type.

wasmtime::component::bindgen!({
    world: "everything",
    path: "../../wit/v0.1",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
    with: {
        "millrace:plugin/types@0.1.0": types,
        "millrace:plugin/log@0.1.0": super::millrace::plugin::log,
        "millrace:plugin/http@0.1.0": super::millrace::plugin::http,
        "millrace:plugin/grants@0.1.0": super::millrace::plugin::grants,
    },
});

/// The types of `types.wit`: all but effects are those of the open track.
#[expect(unreachable_pub, reason = "the macro hands them on")]
pub mod types {
    use wasmtime::component::{ComponentType, Lift, Lower};

    pub use super::super::millrace::plugin::types::{
        AssignsParam, AssignsResult, BroadcastParam, BroadcastResult, Enqueue, LatePush, LateReply,
        PayloadParam, PayloadResult, PushParam, PushResult, Reply, Socket, Task, Timer,
    };
    /// Named by what the macro makes, and never called.
    pub use super::super::millrace::plugin::types::{Host, HostWithStore, add_to_linker};

    /// The effects of version 0.1.
    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(variant)]
    pub enum Effect {
        #[component(name = "reply")]
        Reply(Reply),
        #[component(name = "push")]
        Push(PushResult),
        #[component(name = "broadcast")]
        Broadcast(BroadcastResult),
        #[component(name = "broadcast-from")]
        BroadcastFrom(BroadcastResult),
        #[component(name = "subscribe")]
        Subscribe(String),
        #[component(name = "unsubscribe")]
        Unsubscribe(String),
        #[component(name = "send-after")]
        SendAfter(Timer),
        #[component(name = "reply-to")]
        ReplyTo(LateReply),
        #[component(name = "push-to")]
        PushTo(LatePush),
        #[component(name = "enqueue")]
        Enqueue(Enqueue),
        #[component(name = "start-task")]
        StartTask(Task),
        #[component(name = "disconnect")]
        Disconnect(String),
        #[component(name = "stop")]
        Stop,
    }

    /// The outcome of a call of version 0.1.
    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Outcome {
        #[component(name = "effects")]
        pub effects: Vec<Effect>,
        #[component(name = "assigns")]
        pub assigns: Option<AssignsResult>,
    }
}
