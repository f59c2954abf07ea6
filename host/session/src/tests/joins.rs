//! Joins, leaves, and the end of a connection.

use std::time::Duration;

use super::*;

#[test]
fn a_join_is_asked_answered_and_subscribed() {
    let mut harness = Harness::new(Serializer::V2);
    assert_eq!(harness.send(r#"["11","1","room:a","phx_join",{}]"#), ["call join"]);
    assert_eq!(harness.accept_join(), [format!(r#"["11","1","room:a",{OK}"#), "join".to_owned()]);
}

#[test]
fn a_refused_and_a_crashed_join_say_so_and_leave_nothing() {
    for (result, reason) in [
        (Ok(Completion::Join(Box::new(Err(Payload::reason("denied"))))), "denied"),
        (Err(Failure::Crashed), "join crashed"),
        (Err(Failure::TimedOut), "join timeout"),
    ] {
        let mut harness = Harness::new(Serializer::V2);
        harness.send(r#"["11","1","room:a","phx_join",{}]"#);
        let expected = format!(
            r#"["11","1","room:a","phx_reply",{{"status":"error","response":{{"reason":"{reason}"}}}}]"#
        );
        assert_eq!(harness.end(result), [expected]);
        assert_eq!(harness.session.channels(), 0);
    }
}

#[test]
fn unjoined_topics_are_unmatched_with_a_null_join_ref() {
    let mut harness = Harness::new(Serializer::V2);
    for frame in [r#"["1","1","lobby","phx_join",{}]"#, r#"["1","1","room:a","ping",{}]"#] {
        let topic = if frame.contains("lobby") { "lobby" } else { "room:a" };
        assert_eq!(harness.send(frame), [format!(r#"[null,"1","{topic}",{UNMATCHED}"#)]);
    }
    let left = harness.send(r#"["1","2","room:a","phx_leave",{}]"#);
    assert_eq!(left, [format!(r#"["1","2","room:a",{OK}"#)]);
}

#[test]
fn stale_join_refs_are_dropped_and_null_ones_accepted() {
    let mut harness = joined();
    assert_eq!(harness.send(r#"["10","2","room:a","ping",{}]"#), [""; 0]);
    assert_eq!(harness.send(r#"["10","2","room:a","phx_leave",{}]"#), [""; 0]);
    assert_eq!(harness.send(r#"[null,"3","room:a","ping",{}]"#), ["call handle_in ping"]);
}

#[test]
fn leaving_replies_closes_and_terminates() {
    let mut harness = joined();
    assert_eq!(
        harness.send(r#"["11","9","room:a","phx_leave",{}]"#),
        [
            format!(r#"["11","9","room:a",{OK}"#),
            r#"["11","11","room:a","phx_close",{}]"#.to_owned(),
            "unsubscribe room:a".to_owned(),
            "call terminate left".to_owned(),
        ]
    );
    let push = ChannelEffect::Push { event: "bye".to_owned(), payload: Payload::Json("{}".into()) };
    assert_eq!(harness.end_with(vec![push]), [r#"["11",null,"room:a","bye",{}]"#]);
}

#[test]
fn a_duplicate_join_closes_the_old_channel_after_the_new_reply() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","slow",{}]"#);
    let again = harness.send(r#"["12","3","room:a","phx_join",{}]"#);
    assert_eq!(again, ["end calls", "unsubscribe room:a", "call join"]);
    assert_eq!(harness.end_with(vec![reply("1")]), [""; 0], "the old call comes to nothing");
    assert_eq!(
        harness.accept_join(),
        [
            format!(r#"["12","3","room:a",{OK}"#),
            r#"["11","11","room:a","phx_close",{}]"#.to_owned(),
            "join".to_owned(),
        ]
    );
}

#[test]
fn messages_sent_behind_a_join_wait_for_it() {
    let mut harness = Harness::new(Serializer::V2);
    harness.send(r#"["11","1","room:a","phx_join",{}]"#);
    assert_eq!(harness.send(r#"["11","2","room:a","ping",{}]"#), [""; 0]);
    let described = harness.accept_join();
    assert_eq!(described[1..], ["join", "call handle_in ping"]);

    let mut harness = Harness::new(Serializer::V2);
    harness.send(r#"["11","1","room:a","phx_join",{}]"#);
    harness.send(r#"["11","2","room:a","ping",{}]"#);
    let described = harness.end(Err(Failure::Crashed));
    assert_eq!(described[1], format!(r#"[null,"2","room:a",{UNMATCHED}"#));
}

#[test]
fn joins_are_bounded_but_not_joining_again() {
    let mut harness = joined();
    harness.send(r#"["2","2","room:b","phx_join",{}]"#);
    harness.accept_join();
    let third = harness.send(r#"["3","3","room:c","phx_join",{}]"#);
    assert_eq!(third[0], "count ChannelRefused");
    assert!(third[1].contains("too many channels joined"), "{third:?}");
    let again = harness.send(r#"["4","4","room:b","phx_join",{}]"#);
    assert_eq!(again, ["unsubscribe room:b", "call join"]);
    let long = harness.send(&format!(r#"["5","5","room:{}","phx_join",{{}}]"#, "x".repeat(255)));
    assert!(long[1].contains("too many"), "{long:?}");
}

#[test]
fn the_end_of_the_connection_ends_what_is_joined_after_its_messages() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","slow",{}]"#);
    harness.send(r#"["2","3","room:b","phx_join",{}]"#);
    let mut actions = Vec::new();
    harness.session.close(TerminateReason::Closed, &harness.routes, &mut actions);
    assert!(harness.describe(actions).is_empty(), "both channels are busy");
    let described = harness.end_with(Vec::<Effect>::new());
    assert_eq!(described, ["unsubscribe room:a", "call terminate closed"]);
    let described = harness.accept_join();
    assert_eq!(described[2..], ["unsubscribe room:b", "call terminate closed"]);
}

#[test]
fn version_1_has_no_join_ref() {
    let mut harness = Harness::new(Serializer::V1);
    harness.send(r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}"#);
    let described = harness.accept_join();
    assert_eq!(
        described[0],
        r#"{"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}"#
    );
    harness.send(r#"{"topic":"room:a","event":"crash","payload":{},"ref":"2"}"#);
    let described = harness.end(Err(Failure::Crashed));
    assert_eq!(
        described[1],
        r#"{"topic":"room:a","event":"phx_error","payload":{"reason":"channel_crash"},"ref":null}"#
    );
}

/// Routes of a server that has no room for one more join.
struct Busy(Routes<&'static str>);

impl Routing<&'static str> for Busy {
    fn who_serves(&self, topic: &str) -> Option<(&'static str, usize)> {
        self.0.who_serves(topic)
    }

    fn admit_join(&self) -> Result<(), Duration> {
        Err(Duration::from_millis(70))
    }
}

#[test]
fn only_a_join_that_could_succeed_asks_whether_it_may() {
    let overloaded = |number: u32, topic: &str| {
        let response = r#"{"reason":"overloaded","retry_after_ms":70}"#;
        let status = format!(r#"{{"status":"error","response":{response}}}"#);
        format!(r#"["{number}","{number}","{topic}","phx_reply",{status}]"#)
    };
    let mut harness = joined();
    let busy = Busy(harness.routes.clone());
    let send = |harness: &mut Harness, topic: &str| {
        let frame = format!(r#"["12","12","{topic}","phx_join",{{}}]"#);
        let frame = Frame::Text(frame.as_str().into());
        let message = harness.session.identity().serializer.decode(&frame).unwrap();
        let mut actions = Vec::new();
        harness.session.receive(message, &busy, &mut actions);
        harness.describe(actions)
    };
    let described = send(&mut harness, "nobody");
    assert!(described[0].contains("unmatched topic"), "{described:?}");
    assert_eq!(send(&mut harness, "room:b"), ["count JoinRefused", &overloaded(12, "room:b")]);
    // The channel that has joined the topic stays.
    assert_eq!(send(&mut harness, "room:a"), ["count JoinRefused", &overloaded(12, "room:a")]);
    assert_eq!(harness.session.channels(), 1);
    harness.send(r#"["13","13","room:b","phx_join",{}]"#);
    let described = send(&mut harness, "room:c");
    assert!(
        described.iter().any(|described| described.contains("too many channels joined")),
        "{described:?}"
    );
}
