//! Replies and pushes that come later than the result of a call.

use millrace_wire::Ref;

use super::*;

/// The socket ref of message "2" of this channel of the harness.
fn socket_ref(channel: u64) -> SocketRef {
    let (server, connection, topic) = (1, 1, "room:a".into());
    let reference = Ref::from_json("\"2\"").unwrap().unwrap();
    SocketRef { server, connection, channel, topic, reference }
}

#[test]
fn a_message_is_answered_later_by_its_socket_ref_in_the_order_of_effects() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","later",{}]"#);
    harness.end_with(Vec::<Effect>::new());
    harness.send(r#"["11","3","room:a","now",{}]"#);
    let channel = harness.calls[0].ticket.caller.context.channel;
    let later = |channel| ServerEffect::ReplyTo {
        socket_ref: Box::new(socket_ref(channel)),
        status: "ok".to_owned(),
        payload: Payload::empty(),
    };
    let described =
        harness.end_with(vec![later(channel).into(), reply("3"), later(channel + 1).into()]);
    assert_eq!(
        described,
        [
            &format!(r#"["11","2","room:a",{OK}"#),
            r#"["11","3","room:a","phx_reply",{"status":"ok","response":3}]"#,
            "count DeferredGone",
        ]
    );
}

#[test]
fn what_comes_late_reaches_its_own_join_alone() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","now",{}]"#);
    let caller = harness.calls[0].ticket.caller.clone();
    harness.end_with(Vec::<Effect>::new());
    let push = |channel| Deferred::Push {
        topic: "room:a".into(),
        channel,
        event: "done".to_owned(),
        payload: Payload::empty(),
    };
    let mut late = |deferred| {
        let mut actions = Vec::new();
        harness.session.deferred(deferred, &mut actions);
        harness.describe(actions)
    };
    let channel = caller.context.channel;
    assert_eq!(late(push(channel)), [r#"["11",null,"room:a","done",{}]"#]);
    assert_eq!(late(push(channel + 1)), ["count DeferredGone"]);
    let task = ChannelEffect::StartTask { name: "t".to_owned(), payload: Payload::empty() };
    let effects = vec![reply("2"), task.into()];
    let mut actions = Vec::new();
    harness.session.flushed(&caller, effects, &mut actions);
    let described = harness.describe(actions);
    assert_eq!(
        described,
        [r#"["11","2","room:a","phx_reply",{"status":"ok","response":2}]"#, "task t"]
    );
}
