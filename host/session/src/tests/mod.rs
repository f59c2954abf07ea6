//! The protocol as a function: frames in, frames and other actions out.

mod bytes;
mod deferred;
mod following;
mod joins;
mod messages;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use millrace_wire::{Frame, Payload, Serializer, TopicPattern};

use super::*;
use crate::action::{Action, Calls};
use crate::channel::{
    Callback, ChannelEffect, Completion, Deferred, Effect, Failure, Joined, Outcome, ServerEffect,
    SocketRef,
};

/// A session with the client and the plugin of a test. Its limits are two channels, two items
/// in a mailbox, two subscriptions and 10,000 bytes that wait.
struct Harness {
    session: Session<&'static str>,
    routes: Routes<&'static str>,
    /// The calls in flight, oldest first.
    calls: Calls<&'static str>,
}

impl Harness {
    fn new(serializer: Serializer) -> Self {
        Self::concurrent(serializer, 1)
    }

    /// A session of which each channel may have `max_concurrency` calls in flight.
    fn concurrent(serializer: Serializer, max_concurrency: usize) -> Self {
        let identity = Identity {
            server: 1,
            connection: 1,
            peer: ([127, 0, 0, 1], 1).into(),
            serializer,
            user_id: None,
            assigns: Assigns::default(),
            realm: Realm::App,
            token: None,
        };
        let limits = Limits {
            max_channels: 2,
            max_pending: 2,
            max_pending_bytes: 10_000,
            max_subscriptions: 2,
            retry_after_ms: 500,
        };
        let pattern = TopicPattern::parse("room:*").unwrap();
        Self {
            session: Session::new(
                identity,
                limits,
                Arc::new(AtomicU64::new(1)),
                Arc::new(AtomicI64::new(0)),
            ),
            routes: Routes::new(vec![Route { pattern, plugin: "room", max_concurrency }]),
            calls: Calls::new(),
        }
    }

    /// Sends `frame` as the client; the actions that follow, as [`Self::describe`] has them.
    fn send(&mut self, frame: &str) -> Vec<String> {
        let frame = Frame::Text(frame.into());
        let message = self.session.identity().serializer.decode(&frame).unwrap();
        let mut actions = Vec::new();
        self.session.receive(message, &self.routes, &mut actions);
        self.describe(actions)
    }

    /// Ends the oldest call in flight with `result`; the actions that follow.
    fn end(&mut self, result: Result<Completion, Failure>) -> Vec<String> {
        let call = self.calls.remove(0);
        let mut actions = Vec::new();
        self.session.complete(&call.ticket, result, &self.routes, &mut actions);
        self.describe(actions)
    }

    /// Has messages follow the oldest call until there are `most` calls; all calls in flight.
    fn follow(&mut self, most: usize) -> Vec<String> {
        let context = Arc::clone(&self.calls[0].ticket.caller.context);
        self.session.follow(&context, most, &mut self.calls);
        self.calls.iter().map(|call| describe_callback(&call.callback)).collect()
    }

    /// Ends the oldest call, a join, with its acceptance.
    fn accept_join(&mut self) -> Vec<String> {
        self.end(Ok(Completion::Join(Box::new(Ok(Joined::default())))))
    }

    /// Ends the oldest call, no join, with these effects.
    fn end_with<E: Into<Effect>>(&mut self, effects: Vec<E>) -> Vec<String> {
        let effects = effects.into_iter().map(Into::into).collect();
        self.end(Ok(Completion::Handled(Outcome { effects, assigns: None })))
    }

    /// The actions as texts: frames as the client gets them, others in words. Calls are kept
    /// as calls in flight.
    fn describe(&mut self, actions: Vec<Action<&'static str>>) -> Vec<String> {
        let mut described = Vec::new();
        for action in actions {
            described.push(match action {
                Action::Send(Frame::Text(text)) | Action::Push { frame: Frame::Text(text), .. } => {
                    text.as_str().to_owned()
                }
                Action::Send(Frame::Binary(bytes))
                | Action::Push { frame: Frame::Binary(bytes), .. } => format!("{bytes:?}"),
                Action::Call(call) => {
                    let callback = describe_callback(&call.callback);
                    self.calls.push(call);
                    callback
                }
                Action::Channel(action) => describe_channel_action(&action),
                Action::Server(effect) => describe_server_effect(&effect),
                Action::Count(what) => format!("count {what:?}"),
            });
        }
        described
    }
}

fn describe_channel_action(action: &ChannelAction<&'static str>) -> String {
    match action {
        ChannelAction::EndCalls(_) => "end calls".to_owned(),
        ChannelAction::Join { presences, .. } if presences.is_empty() => "join".to_owned(),
        ChannelAction::Join { presences, .. } => format!("join with {presences:?}"),
        ChannelAction::Presence { change, .. } => format!("presence {change:?}"),
        ChannelAction::Leave { context, .. } => format!("unsubscribe {}", context.topic),
        ChannelAction::Subscribe { topic, .. } => format!("subscribe {topic}"),
        ChannelAction::Unsubscribe { topic, .. } => format!("unsubscribe {topic}"),
        ChannelAction::StartTimer { name, .. } => format!("timer {name}"),
        ChannelAction::StartTask { name, .. } => format!("task {name}"),
    }
}

fn describe_server_effect(effect: &ServerEffect) -> String {
    match effect {
        ServerEffect::Broadcast { broadcast, except } => {
            format!("broadcast {} {:?}", broadcast.event, except.is_some())
        }
        ServerEffect::ReplyTo { socket_ref, .. } => format!("reply to {socket_ref:?}"),
        ServerEffect::PushTo { socket_ref, event, .. } => format!("push {event} to {socket_ref:?}"),
        ServerEffect::Enqueue { pipeline, .. } => format!("enqueue into {pipeline}"),
        ServerEffect::Disconnect(user_id) => format!("disconnect {user_id}"),
    }
}

fn describe_callback(callback: &Callback) -> String {
    match callback {
        Callback::Join { .. } => "call join".to_owned(),
        Callback::HandleIn { event, .. } => format!("call handle_in {event}"),
        Callback::HandleOut(_) => "call handle_out".to_owned(),
        Callback::HandleInfo(_) => "call handle_info".to_owned(),
        Callback::Terminate(reason) => format!("call terminate {}", reason.as_str()),
    }
}

fn reply(payload: &'static str) -> Effect {
    ChannelEffect::Reply { status: "ok".into(), payload: Payload::Json(payload.into()) }.into()
}

/// A harness whose client has joined `room:a` with join ref 11.
fn joined() -> Harness {
    let mut harness = Harness::new(Serializer::V2);
    harness.send(r#"["11","1","room:a","phx_join",{}]"#);
    harness.accept_join();
    harness
}

const OK: &str = r#""phx_reply",{"status":"ok","response":{}}]"#;
const UNMATCHED: &str =
    r#""phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#;
