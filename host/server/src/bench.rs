//! The parts of the inside that the benches of `host/server/benches` use, and nobody else.

use std::future::poll_fn;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Weak};
use std::task::Poll;

use millrace_pipeline::Roles;
use millrace_session::channel::{Assigns, Completion, Effect, Joined, Outcome};
use millrace_session::{Action, Call, Identity, Limits, Realm, Route, Routes, Session};
use millrace_telemetry::{Metrics, OutboxMeters};
use millrace_wasm::{BatchMessage, CallContext, Fault};
use millrace_wire::{Frame, Payload, Serializer, TopicPattern};
use smol_str::SmolStr;

pub use crate::config::App;
pub use crate::outbox::{Outbox, Overflow};
use crate::plugin::FaultSink;
pub use crate::plugin::Plugin;
pub use crate::pubsub::{Delivery, LocalOnly, PubSub, Subscriber};
pub use crate::transport::echo;

/// An outbox of a capacity in bytes, which is not measured.
#[must_use]
pub fn outbox(capacity_bytes: usize) -> Outbox {
    Outbox::new(capacity_bytes, capacity_bytes, Arc::new(OutboxMeters::new(&Metrics::none())))
}

/// Has a plugin handle `messages` pings in one call, and returns the number of replies. `None`
/// while the plugin has no instance.
pub async fn together(
    plugin: &Plugin,
    context: &CallContext,
    assigns: &Assigns,
    payload: &Payload,
    messages: usize,
) -> Option<usize> {
    let CallContext { caller, progress } = context;
    let (event, wants_reply) = (SmolStr::new_static("ping"), true);
    poll_fn(|cx| {
        let messages = (0..messages).map(|number| {
            let assigns = (number == 0).then_some(assigns);
            let (event, used) = (&event, 0);
            BatchMessage { caller, progress, assigns, event, payload, wants_reply, used }
        });
        let version = plugin.version_for(caller.context.connection);
        let progressed = version.handle_all(messages, cx);
        let replies = progressed.map(|progressed| {
            progressed.handled.iter().filter(|handled| handled.result.is_ok()).count()
        });
        Poll::Ready(replies)
    })
    .await
}

/// The roles of a plugin in pipelines. Its faults are not reported.
#[must_use]
pub fn roles(plugin: Arc<Plugin>) -> Roles {
    plugin.roles(Weak::<IgnoredFaults>::new() as Weak<dyn FaultSink>)
}

#[derive(Debug)]
struct IgnoredFaults;

impl FaultSink for IgnoredFaults {
    fn worker_faulted(&self, _: &Fault, _: &str, _: &str) {}
}

/// A session that has joined `room:a` with join ref 1, and a plugin whose answers the bench makes
/// up.
#[derive(Debug)]
pub struct JoinedSession {
    session: Session<()>,
    routes: Routes<()>,
    actions: Vec<Action<()>>,
}

impl JoinedSession {
    /// Makes a session that has joined, and has no call in flight.
    ///
    /// `None` if `room:*` is not a pattern any more.
    #[must_use]
    pub fn new() -> Option<Self> {
        let identity = Identity {
            server: 1,
            connection: 1,
            peer: ([127, 0, 0, 1], 1).into(),
            serializer: Serializer::V2,
            user_id: None,
            assigns: Assigns::default(),
            realm: Realm::App,
            token: None,
        };
        let limits = Limits {
            max_channels: 2,
            max_pending: 2,
            max_pending_bytes: 1 << 20,
            max_subscriptions: 2,
            retry_after_ms: 500,
        };
        let waiting = Arc::new(AtomicI64::new(0));
        let session = Session::new(identity, limits, Arc::new(AtomicU64::new(1)), waiting);
        let pattern = TopicPattern::parse("room:*").ok()?;
        let routes = Routes::new(vec![Route { pattern, plugin: (), max_concurrency: 1 }]);
        let mut joint = Self { session, routes, actions: Vec::new() };
        let join = Frame::from(r#"["1","1","room:a","phx_join",{}]"#.to_owned());
        let call = joint.receive(&join)?;
        joint.complete(&call, Completion::Join(Box::new(Ok(Joined::default()))));
        Some(joint)
    }

    /// Receives a frame, and returns the call that it leads to.
    pub fn receive(&mut self, frame: &Frame) -> Option<Box<Call<()>>> {
        let message = Serializer::V2.decode(frame).ok()?;
        self.session.receive(message, &self.routes, &mut self.actions);
        self.actions.drain(..).find_map(|action| match action {
            Action::Call(call) => Some(call),
            _ => None,
        })
    }

    /// Applies the effects of the call, and returns the number of actions that follow.
    pub fn handled(&mut self, call: &Call<()>, effects: Vec<Effect>) -> usize {
        self.complete(call, Completion::Handled(Outcome { effects, assigns: None }))
    }

    fn complete(&mut self, call: &Call<()>, completion: Completion) -> usize {
        self.session.complete(&call.ticket, Ok(completion), &self.routes, &mut self.actions);
        self.actions.drain(..).count()
    }
}
