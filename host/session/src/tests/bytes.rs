//! The count of the bytes that wait: it grows with each item and call, and goes back to 0.

use proptest::prelude::*;

use super::*;
use crate::channel::{Broadcast, Info, Notice};

impl Harness {
    /// The bytes that wait in the channels, added up.
    fn sum_of_bytes(&self) -> usize {
        self.session.channels.values().map(|channel| channel.bytes()).sum()
    }

    /// The number of subscriptions of the channels, added up.
    fn sum_of_subscriptions(&self) -> usize {
        self.session.channels.values().map(|channel| channel.subscriptions.len()).sum()
    }

    /// Hands the channel of a topic a broadcast with a payload of so many bytes.
    fn notice(&mut self, topic: &str, payload: usize, intercepted: bool) -> Vec<String> {
        let Some(channel) = self.session.channels.get(topic) else { return Vec::new() };
        let payload = Payload::Json("1".repeat(payload.max(1)).into());
        let broadcast = Broadcast { topic: "other".into(), event: "e".into(), payload };
        let notice = Notice {
            topic: topic.into(),
            channel: channel.context.channel,
            broadcast: Arc::new(broadcast),
            intercepted,
        };
        let mut actions = Vec::new();
        self.session.notice(notice, &self.routes, &mut actions);
        self.describe(actions)
    }

    /// Lets a timer of the channel of a topic run out.
    fn timer(&mut self, topic: &str) {
        let Some(channel) = self.session.channels.get(topic) else { return };
        let (topic, id, mut actions) = (topic.into(), channel.context.channel, Vec::new());
        self.session.timer(&topic, id, "tick".to_owned(), &self.routes, &mut actions);
        self.describe(actions);
    }
}

#[test]
fn a_message_is_counted_from_its_coming_to_the_end_of_its_call() {
    let mut harness = joined();
    assert_eq!(harness.session.pending_bytes(), 0);
    harness.send(r#"["11","2","room:a","one","1234567890"]"#);
    let one = harness.session.pending_bytes();
    assert!(one > 12, "{one}");
    harness.send(r#"["11","3","room:a","two","1234567890"]"#);
    assert_eq!(harness.session.pending_bytes(), 2 * one);
    harness.end_with(Vec::<Effect>::new());
    assert_eq!(harness.session.pending_bytes(), one);
    harness.end(Err(Failure::TimedOut));
    assert_eq!(harness.session.pending_bytes(), 0);
}

#[test]
fn a_second_leave_is_answered_at_once_and_takes_no_room() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","slow",{}]"#);
    assert_eq!(harness.send(r#"["11","3","room:a","phx_leave",{}]"#), [""; 0]);
    let before = harness.session.pending_bytes();
    for _ in 0..1_000 {
        let described = harness.send(r#"["11","4","room:a","phx_leave",{}]"#);
        assert_eq!(described, [format!(r#"["11","4","room:a",{OK}"#)]);
    }
    assert_eq!(harness.session.pending_bytes(), before);
    let described = harness.end_with(Vec::<Effect>::new());
    assert_eq!(described[0], format!(r#"["11","3","room:a",{OK}"#));
}

#[test]
fn broadcasts_for_a_handler_are_left_out_when_too_much_waits() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","slow",{}]"#);
    assert_eq!(harness.notice("room:a", 9_000, false), [""; 0]);
    assert_eq!(harness.notice("room:a", 9_000, false), ["count NoticeDropped"]);
}

#[test]
fn subscriptions_are_bounded() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","more",{}]"#);
    let topics = ["x", "y", "x", "z"].map(|topic| ChannelEffect::Subscribe(topic.to_owned()));
    let described = harness.end_with(topics.into());
    assert_eq!(described, ["subscribe x", "subscribe y", "count SubscriptionRefused"]);
    harness.send(r#"["11","3","room:a","fewer",{}]"#);
    let effects =
        vec![ChannelEffect::Unsubscribe("x".to_owned()), ChannelEffect::Subscribe("z".to_owned())];
    assert_eq!(harness.end_with(effects), ["unsubscribe x", "subscribe z"]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(&'static str, usize, &'static str),
    End(u8),
    Notice(&'static str, usize, bool),
    Timer(&'static str),
    Follow(usize),
    PutBack(usize),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topic = || prop_oneof![Just("room:a"), Just("room:b"), Just("room:c")];
    let event = prop_oneof![
        4 => Just("ping"),
        2 => Just("phx_join"),
        1 => Just("phx_leave"),
    ];
    let step = prop_oneof![
        6 => (topic(), 0..3_000usize, event).prop_map(|(t, len, e)| Step::Send(t, len, e)),
        6 => (0..6u8).prop_map(Step::End),
        2 => (topic(), 0..3_000usize, any::<bool>()).prop_map(|(t, len, i)| Step::Notice(t, len, i)),
        1 => topic().prop_map(Step::Timer),
        2 => (1..5usize).prop_map(Step::Follow),
        1 => (1..3usize).prop_map(Step::PutBack),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 0..80)
}

/// Ends the oldest call, in the way of this number.
fn end(harness: &mut Harness, how: u8) {
    let Some(call) = harness.calls.first() else { return };
    let is_join = matches!(call.callback, Callback::Join { .. });
    let handled = |effects| Completion::Handled(Outcome { effects, assigns: None });
    let result = match (how, is_join) {
        (0, _) => Err(Failure::Crashed),
        (1, _) => Err(Failure::TimedOut),
        (2, true) => Ok(Completion::Join(Box::new(Err(Payload::empty())))),
        (_, true) => Ok(Completion::Join(Box::new(Ok(Joined::default())))),
        (2, false) => Ok(handled(vec![ChannelEffect::Stop.into()])),
        (3, false) => Ok(handled(vec![reply("1")])),
        (4, false) => Ok(handled(
            ["x", "y", "z"].map(|t| ChannelEffect::Subscribe(t.to_owned()).into()).into(),
        )),
        (_, false) => {
            Ok(handled(["y", "z"].map(|t| ChannelEffect::Unsubscribe(t.to_owned()).into()).into()))
        }
    };
    harness.end(result);
}

/// Whether the last of the calls was made to follow another call of its channel.
fn follows_another<P>(calls: &[Box<Call<P>>]) -> bool {
    let channel = |call: &Call<P>| call.ticket.caller.context.channel;
    let Some((last, before)) = calls.split_last() else { return false };
    last.assigns.is_none() && before.iter().any(|call| channel(call) == channel(last))
}

fn take(harness: &mut Harness, step: Step) {
    match step {
        Step::Send(topic, len, event) => {
            let text = "x".repeat(len);
            harness.send(&format!(r#"[null,"1","{topic}","{event}","{text}"]"#));
        }
        Step::End(how) => end(harness, how),
        Step::Notice(topic, len, intercepted) => drop(harness.notice(topic, len, intercepted)),
        Step::Timer(topic) => harness.timer(topic),
        Step::Follow(most) => {
            let is_message = |call: &Call<_>| matches!(call.callback, Callback::HandleIn { .. });
            if harness.calls.first().is_some_and(|call| is_message(call)) {
                harness.follow(most + harness.calls.len());
            }
        }
        Step::PutBack(many) => {
            // Calls at the end that follow another call of their channel have not been made.
            // They are put back while that other call is in flight.
            let mut back = Calls::new();
            while back.len() < many && follows_another(&harness.calls) {
                back.insert(0, harness.calls.remove(harness.calls.len() - 1));
            }
            harness.session.put_back(back);
        }
        Step::Close => {
            let mut actions = Vec::new();
            harness.session.close(TerminateReason::Closed, &harness.routes, &mut actions);
            harness.describe(actions);
        }
    }
}

proptest! {
    /// Whatever happens in whatever order, the session's count of bytes is the sum over its
    /// channels, and 0 once every call has ended.
    #[test]
    fn whatever_happens_the_counts_are_right(steps in steps()) {
        let mut harness = Harness::new(Serializer::V2);
        for step in steps {
            take(&mut harness, step);
            let (bytes, subscriptions) = (harness.sum_of_bytes(), harness.sum_of_subscriptions());
            prop_assert_eq!(harness.session.pending_bytes(), bytes, "after {:?}", step);
            prop_assert_eq!(harness.session.subscriptions, subscriptions, "after {:?}", step);
            prop_assert!(harness.session.subscriptions <= 2);
        }
        while !harness.calls.is_empty() {
            end(&mut harness, 3);
        }
        prop_assert_eq!(harness.session.pending_bytes(), harness.sum_of_bytes());
        prop_assert_eq!(harness.session.pending_bytes(), 0);
    }
}

#[test]
fn an_item_and_the_call_it_becomes_take_the_same_bytes() {
    use crate::channel::{MailboxItem, ReplyTo, entry_bytes};
    let payload = || Payload::Json("12345".into());
    let broadcast =
        Arc::new(Broadcast { topic: "t".into(), event: "e".into(), payload: payload() });
    let (reply_to, event) = (ReplyTo::default(), smol_str::SmolStr::new("event"));
    for (item, callback) in [
        (
            MailboxItem::In { reply_to, event: event.clone(), payload: payload() },
            Callback::HandleIn { event, payload: payload(), wants_reply: true },
        ),
        (MailboxItem::Out(Arc::clone(&broadcast)), Callback::HandleOut(Arc::clone(&broadcast))),
        (
            MailboxItem::Info(Info::Broadcast(Arc::clone(&broadcast))),
            Callback::HandleInfo(Info::Broadcast(broadcast)),
        ),
        (
            MailboxItem::Info(Info::Timer("tick".to_owned())),
            Callback::HandleInfo(Info::Timer("tick".to_owned())),
        ),
    ] {
        assert_eq!(item.bytes(), entry_bytes(callback.bytes()));
    }
}
