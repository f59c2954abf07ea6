//! The protocol as a function: frames in, frames and other actions out.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::channel::{Callback, Completion, Effect, Failure, Joined, Late, Outcome, SocketRef};
use crate::session::action::{Action, Calls};
use crate::wire::{Frame, Payload, Serializer, TopicPattern};

/// A client of a session, and the plugin's side of it.
struct Desk {
    session: Session<&'static str>,
    routes: Routes<&'static str>,
    calls: Calls<&'static str>,
}

impl Desk {
    fn new(serializer: Serializer) -> Self {
        Self::concurrent(serializer, 1)
    }

    fn concurrent(serializer: Serializer, max_concurrency: usize) -> Self {
        let identity = Identity {
            server: 1,
            connection: 1,
            peer: ([127, 0, 0, 1], 1).into(),
            serializer,
            user_id: None,
            assigns: Assigns::default(),
            realm: Realm::App,
        };
        let limits = Limits { max_channels: 2, max_pending: 2, retry_after_ms: 500 };
        let pattern = TopicPattern::parse("room:*").unwrap();
        Self {
            session: Session::new(identity, limits, Arc::new(AtomicU64::new(1)), Counter::new()),
            routes: Routes::new(vec![Route { pattern, plugin: "room", max_concurrency }]),
            calls: Calls::new(),
        }
    }

    /// What the client receives after sending `frame`, and what else happens in
    /// words.
    fn send(&mut self, frame: &str) -> Vec<String> {
        let frame = Frame::Text(frame.into());
        let message = self.session.identity().serializer.decode(&frame).unwrap();
        let mut actions = Vec::new();
        self.session.receive(message, &self.routes, &mut actions);
        self.told(actions)
    }

    /// The oldest call in flight ends with `result`.
    fn end(&mut self, result: Result<Completion, Failure>) -> Vec<String> {
        let call = self.calls.remove(0);
        let mut actions = Vec::new();
        self.session.complete(&call.ticket, result, &self.routes, &mut actions);
        self.told(actions)
    }

    /// The messages behind the oldest call join it.
    fn follow(&mut self, most: usize) -> Vec<String> {
        let context = Arc::clone(&self.calls[0].ticket.caller.context);
        self.session.follow(&context, most, &mut self.calls);
        self.calls.iter().map(|call| word(&call.callback)).collect()
    }

    fn accept_join(&mut self) -> Vec<String> {
        self.end(Ok(Completion::Join(Box::new(Ok(Joined::default())))))
    }

    fn end_with(&mut self, effects: Vec<Effect>) -> Vec<String> {
        self.end(Ok(Completion::Handled(Outcome { effects, assigns: None })))
    }

    fn told(&mut self, actions: Vec<Action<&'static str>>) -> Vec<String> {
        let mut told = Vec::new();
        for action in actions {
            told.push(match action {
                Action::Send(Frame::Text(text)) | Action::Push { frame: Frame::Text(text), .. } => {
                    text.as_str().to_owned()
                }
                Action::Send(Frame::Binary(bytes))
                | Action::Push { frame: Frame::Binary(bytes), .. } => format!("{bytes:?}"),
                Action::Call(call) => {
                    let word = word(&call.callback);
                    self.calls.push(call);
                    word
                }
                Action::EndCalls(_) => "end calls".to_owned(),
                Action::Join { .. } => "join".to_owned(),
                Action::Leave { context, .. } => format!("unsubscribe {}", context.topic),
                Action::Subscribe { topic, .. } => format!("subscribe {topic}"),
                Action::Unsubscribe { topic, .. } => format!("unsubscribe {topic}"),
                Action::Broadcast { broadcast, from } => {
                    format!("broadcast {} {:?}", broadcast.event, from.is_some())
                }
                Action::StartTimer { name, .. } => format!("timer {name}"),
                Action::StartTask { name, .. } => format!("task {name}"),
                Action::ReplyTo { socket_ref, .. } => format!("reply to {socket_ref}"),
                Action::PushTo { socket_ref, event, .. } => format!("push {event} to {socket_ref}"),
                Action::Enqueue { pipeline, .. } => format!("enqueue into {pipeline}"),
                Action::Disconnect(user_id) => format!("disconnect {user_id}"),
                Action::Count(counter) => format!("count {}", counter.spec().name),
            });
        }
        told
    }
}

fn word(callback: &Callback) -> String {
    match callback {
        Callback::Join { .. } => "call join".to_owned(),
        Callback::HandleIn { event, .. } => format!("call handle_in {event}"),
        Callback::HandleOut(_) => "call handle_out".to_owned(),
        Callback::HandleInfo(_) => "call handle_info".to_owned(),
        Callback::Terminate(reason) => format!("call terminate {}", reason.as_str()),
    }
}

fn reply(payload: &'static str) -> Effect {
    Effect::Reply { status: "ok".into(), payload: Payload::Json(payload.into()) }
}

/// A desk whose client has joined `room:a` with join ref 11.
fn joined() -> Desk {
    let mut desk = Desk::new(Serializer::V2);
    desk.send(r#"["11","1","room:a","phx_join",{}]"#);
    desk.accept_join();
    desk
}

const OK: &str = r#""phx_reply",{"status":"ok","response":{}}]"#;
const UNMATCHED: &str =
    r#""phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#;

#[test]
fn a_join_is_asked_answered_and_subscribed() {
    let mut desk = Desk::new(Serializer::V2);
    assert_eq!(desk.send(r#"["11","1","room:a","phx_join",{}]"#), ["call join"]);
    assert_eq!(desk.accept_join(), [format!(r#"["11","1","room:a",{OK}"#), "join".to_owned()]);
}

#[test]
fn a_refused_and_a_crashed_join_say_so_and_leave_nothing() {
    for (result, reason) in [
        (Ok(Completion::Join(Box::new(Err(Payload::reason("denied"))))), "denied"),
        (Err(Failure::Crashed), "join crashed"),
        (Err(Failure::TimedOut), "join timeout"),
    ] {
        let mut desk = Desk::new(Serializer::V2);
        desk.send(r#"["11","1","room:a","phx_join",{}]"#);
        let expected = format!(
            r#"["11","1","room:a","phx_reply",{{"status":"error","response":{{"reason":"{reason}"}}}}]"#
        );
        assert_eq!(desk.end(result), [expected]);
        assert_eq!(desk.session.channels(), 0);
    }
}

#[test]
fn unjoined_topics_are_unmatched_with_a_null_join_ref() {
    let mut desk = Desk::new(Serializer::V2);
    for frame in [r#"["1","1","lobby","phx_join",{}]"#, r#"["1","1","room:a","ping",{}]"#] {
        let topic = if frame.contains("lobby") { "lobby" } else { "room:a" };
        assert_eq!(desk.send(frame), [format!(r#"[null,"1","{topic}",{UNMATCHED}"#)]);
    }
    let left = desk.send(r#"["1","2","room:a","phx_leave",{}]"#);
    assert_eq!(left, [format!(r#"["1","2","room:a",{OK}"#)]);
}

#[test]
fn heartbeats_are_answered_whatever_else_runs() {
    let mut desk = Desk::new(Serializer::V2);
    desk.send(r#"["11","1","room:a","phx_join",{}]"#);
    let beat = desk.send(r#"[null,7,"phoenix","heartbeat",{}]"#);
    assert_eq!(beat, [format!(r#"[null,7,"phoenix",{OK}"#)]);
}

#[test]
fn messages_are_handled_one_after_the_other() {
    let mut desk = joined();
    assert_eq!(desk.send(r#"["11","2","room:a","one",{}]"#), ["call handle_in one"]);
    assert_eq!(desk.send(r#"["11","3","room:a","two",{}]"#), [""; 0]);
    let reply_and_next = desk.end_with(vec![reply("1")]);
    assert_eq!(
        reply_and_next,
        [r#"["11","2","room:a","phx_reply",{"status":"ok","response":1}]"#, "call handle_in two",]
    );
}

#[test]
fn messages_above_the_bound_are_answered_at_once() {
    let mut desk = joined();
    for reference in 2..5 {
        desk.send(&format!(r#"["11","{reference}","room:a","slow",{{}}]"#));
    }
    let overloaded = desk.send(r#"["11","5","room:a","slow",{}]"#);
    assert_eq!(
        overloaded,
        [
            "count channel.overloaded",
            r#"["11","5","room:a","phx_reply",{"status":"error","response":{"reason":"overloaded","retry_after_ms":500}}]"#
        ]
    );
}

#[test]
fn stale_join_refs_are_dropped_and_null_ones_accepted() {
    let mut desk = joined();
    assert_eq!(desk.send(r#"["10","2","room:a","ping",{}]"#), [""; 0]);
    assert_eq!(desk.send(r#"["10","2","room:a","phx_leave",{}]"#), [""; 0]);
    assert_eq!(desk.send(r#"[null,"3","room:a","ping",{}]"#), ["call handle_in ping"]);
}

#[test]
fn leaving_replies_closes_and_terminates() {
    let mut desk = joined();
    assert_eq!(
        desk.send(r#"["11","9","room:a","phx_leave",{}]"#),
        [
            format!(r#"["11","9","room:a",{OK}"#),
            r#"["11","11","room:a","phx_close",{}]"#.to_owned(),
            "unsubscribe room:a".to_owned(),
            "call terminate left".to_owned(),
        ]
    );
    let push = Effect::Push { event: "bye".to_owned(), payload: Payload::Json("{}".into()) };
    assert_eq!(desk.end_with(vec![push]), [r#"["11",null,"room:a","bye",{}]"#]);
}

#[test]
fn a_duplicate_join_closes_the_old_channel_after_the_new_reply() {
    let mut desk = joined();
    desk.send(r#"["11","2","room:a","slow",{}]"#);
    let again = desk.send(r#"["12","3","room:a","phx_join",{}]"#);
    assert_eq!(again, ["end calls", "unsubscribe room:a", "call join"]);
    assert_eq!(desk.end_with(vec![reply("1")]), [""; 0], "the old call comes to nothing");
    assert_eq!(
        desk.accept_join(),
        [
            format!(r#"["12","3","room:a",{OK}"#),
            r#"["11","11","room:a","phx_close",{}]"#.to_owned(),
            "join".to_owned(),
        ]
    );
}

#[test]
fn messages_sent_behind_a_join_wait_for_it() {
    let mut desk = Desk::new(Serializer::V2);
    desk.send(r#"["11","1","room:a","phx_join",{}]"#);
    assert_eq!(desk.send(r#"["11","2","room:a","ping",{}]"#), [""; 0]);
    let told = desk.accept_join();
    assert_eq!(told[1..], ["join", "call handle_in ping"]);

    let mut desk = Desk::new(Serializer::V2);
    desk.send(r#"["11","1","room:a","phx_join",{}]"#);
    desk.send(r#"["11","2","room:a","ping",{}]"#);
    let told = desk.end(Err(Failure::Crashed));
    assert_eq!(told[1], format!(r#"[null,"2","room:a",{UNMATCHED}"#));
}

#[test]
fn a_trap_ends_its_channel_alone() {
    let mut desk = joined();
    desk.send(r#"["21","2","room:b","phx_join",{}]"#);
    desk.accept_join();
    desk.send(r#"["11","3","room:a","crash",{}]"#);
    desk.send(r#"["11","4","room:a","ping",{}]"#);
    assert_eq!(
        desk.end(Err(Failure::Crashed)),
        [
            "unsubscribe room:a".to_owned(),
            r#"["11","11","room:a","phx_error",{"reason":"channel_crash"}]"#.to_owned(),
            format!(r#"[null,"4","room:a",{UNMATCHED}"#),
        ]
    );
    assert_eq!(desk.send(r#"["21","5","room:b","ping",{}]"#), ["call handle_in ping"]);
}

#[test]
fn stopping_replies_first() {
    let mut desk = joined();
    desk.send(r#"["11","2","room:a","stop",{}]"#);
    let told = desk.end_with(vec![Effect::Stop, reply("{}")]);
    assert_eq!(
        told,
        [
            format!(r#"["11","2","room:a",{OK}"#),
            r#"["11","11","room:a","phx_close",{}]"#.to_owned(),
            "unsubscribe room:a".to_owned(),
            "call terminate stopped".to_owned(),
        ]
    );
}

#[test]
fn joins_are_bounded_but_not_joining_again() {
    let mut desk = joined();
    desk.send(r#"["2","2","room:b","phx_join",{}]"#);
    desk.accept_join();
    let third = desk.send(r#"["3","3","room:c","phx_join",{}]"#);
    assert_eq!(third[0], "count channel.refused");
    assert!(third[1].contains("too many channels joined"), "{third:?}");
    let again = desk.send(r#"["4","4","room:b","phx_join",{}]"#);
    assert_eq!(again, ["unsubscribe room:b", "call join"]);
    let long = desk.send(&format!(r#"["5","5","room:{}","phx_join",{{}}]"#, "x".repeat(255)));
    assert!(long[1].contains("too many"), "{long:?}");
}

#[test]
fn the_end_of_the_connection_ends_what_is_joined_after_its_messages() {
    let mut desk = joined();
    desk.send(r#"["11","2","room:a","slow",{}]"#);
    desk.send(r#"["2","3","room:b","phx_join",{}]"#);
    let mut actions = Vec::new();
    desk.session.close(TerminateReason::Closed, &desk.routes, &mut actions);
    assert!(desk.told(actions).is_empty(), "both channels are busy");
    let told = desk.end_with(Vec::new());
    assert_eq!(told, ["unsubscribe room:a", "call terminate closed"]);
    let told = desk.accept_join();
    assert_eq!(told[2..], ["unsubscribe room:b", "call terminate closed"]);
}

#[test]
fn version_1_has_no_join_ref() {
    let mut desk = Desk::new(Serializer::V1);
    desk.send(r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}"#);
    let told = desk.accept_join();
    assert_eq!(
        told[0],
        r#"{"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}"#
    );
    desk.send(r#"{"topic":"room:a","event":"crash","payload":{},"ref":"2"}"#);
    let told = desk.end(Err(Failure::Crashed));
    assert_eq!(
        told[1],
        r#"{"topic":"room:a","event":"phx_error","payload":{"reason":"channel_crash"},"ref":null}"#
    );
}

#[test]
fn a_concurrent_channel_runs_several_calls_and_ends_after_all_of_them() {
    let mut desk = Desk::concurrent(Serializer::V2, 2);
    desk.send(r#"["11","1","room:a","phx_join",{}]"#);
    desk.accept_join();
    assert_eq!(desk.send(r#"["11","2","room:a","one",{}]"#), ["call handle_in one"]);
    assert_eq!(desk.send(r#"["11","3","room:a","two",{}]"#), ["call handle_in two"]);
    assert_eq!(desk.send(r#"["11","4","room:a","phx_leave",{}]"#), [""; 0]);
    assert_eq!(desk.end_with(Vec::new()), [""; 0], "the leave waits for the other call");
    let told = desk.end_with(vec![reply("2")]);
    assert_eq!(told[0], r#"["11","3","room:a","phx_reply",{"status":"ok","response":2}]"#);
    assert_eq!(told[1], format!(r#"["11","4","room:a",{OK}"#));
    assert_eq!(told[4..], ["call terminate left"]);
}

#[test]
fn concurrent_calls_start_from_the_assigns_of_their_start_and_the_last_wins() {
    let mut desk = Desk::concurrent(Serializer::V2, 2);
    desk.send(r#"["11","1","room:a","phx_join",{}]"#);
    desk.accept_join();
    desk.send(r#"["11","2","room:a","one",{}]"#);
    desk.send(r#"["11","3","room:a","two",{}]"#);
    for data in ["first", "last"] {
        let assigns = Some(Assigns { schema: 0, data: data.into() });
        desk.end(Ok(Completion::Handled(Outcome { effects: Vec::new(), assigns })));
    }
    desk.send(r#"["11","4","room:a","three",{}]"#);
    assert_eq!(desk.calls[0].assigns.as_ref().unwrap().data, "last");
}

#[test]
fn a_call_that_takes_too_long_or_is_not_made_answers_and_the_channel_goes_on() {
    let mut desk = joined();
    desk.send(r#"["11","2","room:a","slow",{}]"#);
    desk.send(r#"["11","3","room:a","ping",{}]"#);
    let error = |reference: u8, response: &str| {
        format!(
            r#"["11","{reference}","room:a","phx_reply",{{"status":"error","response":{response}}}]"#
        )
    };
    assert_eq!(
        desk.end(Err(Failure::TimedOut)),
        [error(2, r#"{"reason":"handler timeout"}"#), "call handle_in ping".to_owned()]
    );
    assert_eq!(
        desk.end(Err(Failure::Unavailable { retry_after_ms: 70 })),
        [error(3, r#"{"reason":"unavailable","retry_after_ms":70}"#)]
    );
}

/// A socket ref of message `reference` of the only join of a desk.
fn socket_ref(channel: u64) -> SocketRef {
    let text = format!(r#"["1",1,{channel},"room:a","2"]"#);
    SocketRef::parse(&text).unwrap()
}

#[test]
fn a_message_is_answered_later_by_its_socket_ref_in_the_order_of_effects() {
    let mut desk = joined();
    desk.send(r#"["11","2","room:a","later",{}]"#);
    desk.end_with(Vec::new());
    desk.send(r#"["11","3","room:a","now",{}]"#);
    let channel = desk.calls[0].ticket.caller.context.channel;
    let later = |channel| Effect::ReplyTo {
        socket_ref: socket_ref(channel),
        status: "ok".to_owned(),
        payload: Payload::empty(),
    };
    let told = desk.end_with(vec![later(channel), reply("3"), later(channel + 1)]);
    assert_eq!(
        told,
        [
            &format!(r#"["11","2","room:a",{OK}"#),
            r#"["11","3","room:a","phx_reply",{"status":"ok","response":3}]"#,
            "count late.gone",
        ]
    );
}

#[test]
fn what_comes_late_reaches_its_own_join_alone() {
    let mut desk = joined();
    desk.send(r#"["11","2","room:a","now",{}]"#);
    let caller = desk.calls[0].ticket.caller.clone();
    desk.end_with(Vec::new());
    let push = |channel| Late::Push {
        topic: "room:a".into(),
        channel,
        event: "done".to_owned(),
        payload: Payload::empty(),
    };
    let mut late = |late| {
        let mut actions = Vec::new();
        desk.session.late(late, &mut actions);
        desk.told(actions)
    };
    let channel = caller.context.channel;
    assert_eq!(late(push(channel)), [r#"["11",null,"room:a","done",{}]"#]);
    assert_eq!(late(push(channel + 1)), ["count late.gone"]);
    let (applied, mut done) = tokio::sync::oneshot::channel();
    let task = Effect::StartTask { name: "t".to_owned(), payload: Payload::empty() };
    let effects = vec![reply("2"), task];
    let told = late(Late::Flush { caller, effects, applied });
    assert_eq!(told, [r#"["11","2","room:a","phx_reply",{"status":"ok","response":2}]"#, "task t"]);
    assert_eq!(done.try_recv(), Ok(()));
}

// === messages handled together ===

/// Its first message is being handled, and others wait.
fn with_waiting(others: &[&str]) -> Desk {
    let mut desk = Desk::new(Serializer::V2);
    desk.send(r#"["1","1","room:a","phx_join",{}]"#);
    desk.accept_join();
    for (number, event) in ["first"].iter().chain(others).enumerate() {
        desk.send(&format!(r#"["1","{}","room:a","{event}",{{}}]"#, number + 2));
    }
    desk
}

#[test]
fn messages_that_wait_can_follow_the_one_before_them() {
    let mut desk = with_waiting(&["second", "phx_leave"]);
    assert_eq!(desk.follow(9), ["call handle_in first", "call handle_in second"]);
    assert!(desk.calls[0].assigns.is_some() && desk.calls[1].assigns.is_none());
    let reply = || vec![Effect::Reply { status: "ok".into(), payload: Payload::empty() }];
    let answer = |reference| {
        format!(r#"["1","{reference}","room:a","phx_reply",{{"status":"ok","response":{{}}}}]"#)
    };
    assert_eq!(desk.end_with(reply()), [answer(2)]);
    // The leave has waited for both.
    let told = desk.end_with(reply());
    assert_eq!(told[..2], [answer(3), answer(4)]);
}

#[test]
fn no_more_follow_than_may() {
    let mut desk = with_waiting(&["second", "third"]);
    assert_eq!(desk.follow(2), ["call handle_in first", "call handle_in second"]);
    let mut concurrent = Desk::concurrent(Serializer::V2, 2);
    concurrent.send(r#"["1","1","room:a","phx_join",{}]"#);
    concurrent.accept_join();
    for number in 2..5 {
        concurrent.send(&format!(r#"["1","{number}","room:a","e",{{}}]"#));
    }
    assert_eq!(concurrent.follow(9).len(), 2, "each sees the assigns as they were at its start");
}

#[test]
fn what_was_not_made_waits_again_in_its_place() {
    let mut desk = with_waiting(&["second", "third"]);
    desk.follow(9);
    let behind = desk.calls.drain(1..).collect();
    desk.session.put_back(behind);
    for next in ["second", "third"] {
        assert_eq!(desk.end_with(Vec::new()), [format!("call handle_in {next}")]);
    }
}

#[test]
fn what_was_not_made_for_a_crash_is_unmatched() {
    let mut desk = with_waiting(&["second"]);
    desk.follow(9);
    let behind = desk.calls.drain(1..).collect();
    desk.session.put_back(behind);
    let told = desk.end(Err(Failure::Crashed));
    let unmatched = r#"[null,"3","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#;
    assert!(told.contains(&unmatched.to_owned()), "{told:?}");
}
