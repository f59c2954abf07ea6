//! The session under any inputs, in any order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use millrace_choices::Choices;
use millrace_wire::{Frame, Message, Payload, Ref, Serializer, TopicPattern};
use serde_json::Value;

use crate::Realm;
use crate::channel::{
    Assigns, ChannelEffect, Completion, Deferred, Effect, Failure, Joined, Outcome, PresenceChange,
    ServerEffect, SocketRef, TerminateReason,
};
use crate::channel::{Broadcast, Notice};
use crate::{
    Action, CallPurpose, Calls, ChannelAction, Identity, Limits, Route, Routes, Routing, Session,
};

const MAX_CHANNELS: usize = 3;
const MAX_PENDING: usize = 4;
/// The number of calls that one channel may have in flight.
const MAX_CONCURRENCY: usize = 2;
/// The number of messages of one channel that are handed over together.
const MAX_TOGETHER: usize = 4;
const TOPICS: [&str; 6] = ["room:a", "room:b", "room:c", "room:d", "phoenix", "nobody:e"];
const EVENTS: [&str; 6] = ["msg", "phx_join", "phx_leave", "heartbeat", "other", ""];

/// Checks that no message is answered twice, that no channel has more calls than it may, and
/// that the counts are 0 once the connection has ended.
pub fn session(bytes: &[u8]) {
    let mut input = Choices::new(bytes);
    let mut run = Run::new(&mut input);
    while !input.is_empty() {
        run.step(&mut input);
    }
    run.end();
}

/// A session with its client and plugin, which do what the input says.
struct Run {
    session: Session<()>,
    routes: Routes<()>,
    waiting: Arc<AtomicI64>,
    calls: Calls<()>,
    /// The refs of the messages that were sent, each used once.
    sent: HashSet<String>,
    /// The refs of the messages that were answered.
    answered: HashSet<String>,
    /// The number of the last join.
    channels: u64,
}

/// The routes of a server that has no room for one more join.
struct Busy<'a>(&'a Routes<()>);

impl Routing<()> for Busy<'_> {
    fn who_serves(&self, topic: &str) -> Option<((), usize)> {
        self.0.who_serves(topic)
    }

    fn admit_join(&self) -> Result<(), Duration> {
        Err(Duration::from_millis(5))
    }
}

impl Run {
    fn new(input: &mut Choices<'_>) -> Self {
        let serializer = if input.bool() { Serializer::V2 } else { Serializer::V1 };
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
            max_channels: MAX_CHANNELS,
            max_pending: MAX_PENDING,
            max_pending_bytes: 4096,
            max_subscriptions: 2,
            retry_after_ms: 500,
        };
        let waiting = Arc::new(AtomicI64::new(0));
        let max_concurrency = 1 + input.below(MAX_CONCURRENCY);
        let pattern = TopicPattern::Prefix("room:".to_owned());
        let ids = Arc::new(AtomicU64::new(1));
        Self {
            session: Session::new(identity, limits, ids, Arc::clone(&waiting) as _),
            routes: Routes::new(vec![Route { pattern, plugin: (), max_concurrency }]),
            waiting,
            calls: Calls::new(),
            sent: HashSet::new(),
            answered: HashSet::new(),
            channels: 1,
        }
    }

    /// Gives the session one input, and carries out its actions.
    fn step(&mut self, input: &mut Choices<'_>) {
        let mut actions = Vec::new();
        match input.below(10) {
            0..=2 => self.send(input, &mut actions),
            3 | 4 => self.complete(input, &mut actions),
            5 => {
                let notice = Notice {
                    topic: Arc::from(input.one_of(&TOPICS)),
                    channel: input.number() % (self.channels + 1),
                    broadcast: broadcast(input),
                    intercepted: input.bool(),
                };
                self.session.notice(notice, &self.routes, &mut actions);
            }
            6 => {
                let topic = Arc::from(input.one_of(&TOPICS));
                let channel = input.number() % (self.channels + 1);
                self.session.timer(&topic, channel, input.name(), &self.routes, &mut actions);
            }
            7 => {
                self.deferred(input, &mut actions);
            }
            8 => self.follow_and_put_back(input),
            _ => {
                let Ok(text) = std::str::from_utf8(input.bytes()) else { return };
                let frame = Frame::from(text.to_owned());
                let Ok(message) = self.session.identity().serializer.decode(&frame) else { return };
                self.session.receive(message, &self.routes, &mut actions);
            }
        }
        self.carry_out(actions);
        self.check();
    }

    fn send(&mut self, input: &mut Choices<'_>, actions: &mut Vec<Action<()>>) {
        let reference = (!input.below(4).eq(&3)).then(|| format!("\"r{}\"", self.sent.len()));
        self.sent.extend(reference.clone());
        let number = |number: usize| Ref::from_json(&number.to_string()).ok().flatten();
        let message = Message {
            join_ref: match input.below(5) {
                0 => None,
                other => number(other),
            },
            reference: reference.as_deref().and_then(|text| Ref::from_json(text).ok().flatten()),
            topic: input.one_of(&TOPICS).into(),
            event: input.one_of(&EVENTS).into(),
            payload: payload(input),
            problem: input.below(32).eq(&31).then(|| "a flaw".into()),
        };
        if input.below(16) == 15 {
            return self.session.receive(message, &Busy(&self.routes), actions);
        }
        self.session.receive(message, &self.routes, actions);
    }

    /// Ends one of the calls in flight.
    fn complete(&mut self, input: &mut Choices<'_>, actions: &mut Vec<Action<()>>) {
        if self.calls.is_empty() {
            return;
        }
        let call = self.calls.remove(input.below(self.calls.len()));
        let outcome = |input: &mut Choices<'_>| Outcome {
            effects: effects(input, call.ticket.purpose),
            assigns: input.bool().then(|| Assigns { schema: 1, data: input.name().into() }),
        };
        let result = match input.below(7) {
            0 => Err(Failure::Crashed),
            1 => Err(Failure::TimedOut),
            2 => Err(Failure::Unavailable { retry_after_ms: 3 }),
            3 => Ok(Completion::Join(Box::new(Err(payload(input))))),
            4 | 5 if call.ticket.purpose == CallPurpose::Join => {
                let response = input.bool().then(|| payload(input));
                let joined = Joined { response, outcome: outcome(input) };
                Ok(Completion::Join(Box::new(Ok(joined))))
            }
            _ => Ok(Completion::Handled(outcome(input))),
        };
        self.session.complete(&call.ticket, result, &self.routes, actions);
    }

    /// Flushes effects of a call in flight, or hands the session a push.
    fn deferred(&mut self, input: &mut Choices<'_>, actions: &mut Vec<Action<()>>) {
        let topic = Arc::from(input.one_of(&TOPICS));
        let channel = input.number() % (self.channels + 1);
        match self.calls.first().filter(|_| input.bool()) {
            Some(call) => {
                let effects = effects(input, CallPurpose::Notice);
                self.session.flushed(&call.ticket.caller, effects, actions);
            }
            None => {
                let (event, payload) = (input.name(), payload(input));
                let push = Deferred::Push { topic, channel, event, payload };
                self.session.deferred(push, actions);
            }
        }
    }

    /// Has the messages that wait behind a call follow it, and puts some of them back.
    fn follow_and_put_back(&mut self, input: &mut Choices<'_>) {
        let at = input.below(self.calls.len());
        let Some(call) = self.calls.get(at) else { return };
        let context = Arc::clone(&call.ticket.caller.context);
        let of_channel = self.calls.iter().filter(|c| c.ticket.caller.context == context);
        if of_channel.count() > 1 {
            // Messages follow the call already, or the channel has several calls in flight.
            return;
        }
        let first = self.calls.remove(at);
        let mut calls = Calls::new();
        calls.push(first);
        self.session.follow(&context, MAX_TOGETHER, &mut calls);
        let kept = 1 + input.below(calls.len());
        let back = calls.drain(kept.min(calls.len())..).collect();
        self.session.put_back(back);
        self.calls.extend(calls);
    }

    fn carry_out(&mut self, actions: Vec<Action<()>>) {
        for action in actions {
            match action {
                Action::Send(frame) | Action::Push { frame, .. } => self.check_frame(&frame),
                Action::Call(call) => {
                    self.channels = self.channels.max(call.ticket.caller.context.channel);
                    self.calls.push(call);
                }
                Action::Channel(ChannelAction::EndCalls(channel)) => {
                    self.calls.retain(|call| call.ticket.caller.context.channel != channel);
                }
                Action::Channel(_) | Action::Server(_) | Action::Count(_) => {}
            }
        }
    }

    /// Checks that a frame for the client is a message of its protocol version, and that a
    /// reply is the first one to its message.
    fn check_frame(&mut self, frame: &Frame) {
        let Frame::Text(text) = frame else { return };
        let value = serde_json::from_str::<Value>(text);
        assert!(value.is_ok(), "the client got no JSON: {text}");
        let Ok(message) = self.session.identity().serializer.decode(frame) else {
            unreachable!("the client got no message: {text}")
        };
        if let Some(reference) = message.reference.filter(|_| message.event == "phx_reply") {
            let reference = reference.as_json().to_owned();
            let is_new = !self.sent.contains(&reference) || self.answered.insert(reference.clone());
            assert!(is_new, "{reference} was answered twice: {text}");
        }
    }

    /// Checks the limits and the counts.
    fn check(&self) {
        assert!(self.session.channels() <= MAX_CHANNELS);
        // One `End` and one `Leave` of each channel find room in a full mailbox.
        let most = MAX_CHANNELS * (MAX_PENDING + 2);
        let waiting = usize::try_from(self.waiting.load(Ordering::Relaxed))
            .ok()
            .filter(|found| *found <= most);
        let bytes = self.session.pending_bytes();
        assert!(waiting.is_some_and(|items| items <= bytes), "{waiting:?} of {bytes} bytes");
        assert!(bytes == 0 || self.session.channels() > 0, "{bytes} bytes of nobody");
        let mut running = HashMap::<u64, usize>::new();
        for call in self.calls.iter().filter(|call| call.ticket.purpose != CallPurpose::Terminate) {
            *running.entry(call.ticket.caller.context.channel).or_default() += 1;
        }
        // Messages that follow a call are in flight, too, though they are called one by one.
        let most = MAX_CONCURRENCY.max(MAX_TOGETHER);
        assert!(running.values().all(|calls| *calls <= most), "{running:?}");
    }

    /// Closes the session, ends all calls, and checks that nothing is left.
    fn end(mut self) {
        let mut actions = Vec::new();
        self.session.close(TerminateReason::Closed, &self.routes, &mut actions);
        self.carry_out(actions);
        for _ in 0..10_000 {
            if self.calls.is_empty() {
                break;
            }
            let call = self.calls.remove(0);
            let result = match call.ticket.purpose {
                CallPurpose::Join => Ok(Completion::Join(Box::new(Ok(Joined::default())))),
                CallPurpose::Message | CallPurpose::Notice | CallPurpose::Terminate => {
                    Ok(Completion::Handled(Outcome::default()))
                }
            };
            let mut actions = Vec::new();
            self.session.complete(&call.ticket, result, &self.routes, &mut actions);
            self.carry_out(actions);
            self.check();
        }
        assert!(self.calls.is_empty(), "calls without end");
        assert_eq!(self.session.channels(), 0, "a channel has outlived its connection");
        let left = (self.waiting.load(Ordering::Relaxed), self.session.pending_bytes());
        assert_eq!(left, (0, 0), "something waits for nobody");
    }
}

fn payload(input: &mut Choices<'_>) -> Payload {
    match input.below(4) {
        0 => Payload::Binary(input.bytes().to_vec().into()),
        1 => Payload::reason(&input.name()),
        _ => Payload::empty(),
    }
}

fn broadcast(input: &mut Choices<'_>) -> Arc<Broadcast> {
    let topic = Arc::from(input.one_of(&TOPICS));
    Arc::new(Broadcast { topic, event: input.name().into(), payload: payload(input) })
}

/// Effects with one reply at most: a second one would be the fault of the plugin, and not of
/// the session.
fn effects(input: &mut Choices<'_>, purpose: CallPurpose) -> Vec<Effect> {
    let mut replied = purpose != CallPurpose::Message;
    let mut effects = Vec::new();
    for _ in 0..input.below(4) {
        let effect = match input.below(10) {
            0 if !std::mem::replace(&mut replied, true) => {
                ChannelEffect::Reply { status: input.name().into(), payload: payload(input) }
            }
            1 => ChannelEffect::Push { event: input.name(), payload: payload(input) },
            2 => ChannelEffect::Broadcast {
                topic: input.bool().then(|| input.name()),
                event: input.name(),
                payload: payload(input),
                exclude_self: input.bool(),
            },
            3 => ChannelEffect::Subscribe(input.one_of(&TOPICS).to_owned()),
            4 => ChannelEffect::Unsubscribe(input.one_of(&TOPICS).to_owned()),
            5 => ChannelEffect::SendAfter { after_ms: input.number(), name: input.name() },
            8 => ChannelEffect::Presence(PresenceChange::Untrack { key: input.name().into() }),
            6 => ChannelEffect::StartTask { name: input.name(), payload: payload(input) },
            7 => match Ref::from_json("\"nobody's\"") {
                Ok(Some(reference)) => {
                    let (server, connection, channel, topic) = (1, 1, 1, "room:a".into());
                    let socket_ref = SocketRef { server, connection, channel, topic, reference };
                    let (socket_ref, status) = (Box::new(socket_ref), input.name());
                    let payload = payload(input);
                    effects.push(ServerEffect::ReplyTo { socket_ref, status, payload }.into());
                    continue;
                }
                _ => ChannelEffect::Stop,
            },
            _ => ChannelEffect::Stop,
        };
        effects.push(effect.into());
    }
    effects
}
