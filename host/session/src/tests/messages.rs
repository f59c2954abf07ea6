//! Messages of joined channels, handled one after the other or several at the same time.

use super::*;

#[test]
fn heartbeats_are_answered_whatever_else_runs() {
    let mut harness = Harness::new(Serializer::V2);
    harness.send(r#"["11","1","room:a","phx_join",{}]"#);
    let beat = harness.send(r#"[null,7,"phoenix","heartbeat",{}]"#);
    assert_eq!(beat, [format!(r#"[null,7,"phoenix",{OK}"#)]);
}

#[test]
fn messages_are_handled_one_after_the_other() {
    let mut harness = joined();
    assert_eq!(harness.send(r#"["11","2","room:a","one",{}]"#), ["call handle_in one"]);
    assert_eq!(harness.send(r#"["11","3","room:a","two",{}]"#), [""; 0]);
    let reply_and_next = harness.end_with(vec![reply("1")]);
    assert_eq!(
        reply_and_next,
        [r#"["11","2","room:a","phx_reply",{"status":"ok","response":1}]"#, "call handle_in two",]
    );
}

#[test]
fn messages_above_the_bound_are_answered_at_once() {
    let mut harness = joined();
    for reference in 2..5 {
        harness.send(&format!(r#"["11","{reference}","room:a","slow",{{}}]"#));
    }
    let overloaded = harness.send(r#"["11","5","room:a","slow",{}]"#);
    assert_eq!(
        overloaded,
        [
            "count ChannelOverloaded",
            r#"["11","5","room:a","phx_reply",{"status":"error","response":{"reason":"overloaded","retry_after_ms":500}}]"#
        ]
    );
}

#[test]
fn a_trap_ends_its_channel_alone() {
    let mut harness = joined();
    harness.send(r#"["21","2","room:b","phx_join",{}]"#);
    harness.accept_join();
    harness.send(r#"["11","3","room:a","crash",{}]"#);
    harness.send(r#"["11","4","room:a","ping",{}]"#);
    assert_eq!(
        harness.end(Err(Failure::Crashed)),
        [
            "unsubscribe room:a".to_owned(),
            r#"["11","11","room:a","phx_error",{"reason":"channel_crash"}]"#.to_owned(),
            format!(r#"[null,"4","room:a",{UNMATCHED}"#),
        ]
    );
    assert_eq!(harness.send(r#"["21","5","room:b","ping",{}]"#), ["call handle_in ping"]);
}

#[test]
fn stopping_replies_first() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","stop",{}]"#);
    let described = harness.end_with(vec![ChannelEffect::Stop.into(), reply("{}")]);
    assert_eq!(
        described,
        [
            format!(r#"["11","2","room:a",{OK}"#),
            r#"["11","11","room:a","phx_close",{}]"#.to_owned(),
            "unsubscribe room:a".to_owned(),
            "call terminate stopped".to_owned(),
        ]
    );
}

#[test]
fn a_concurrent_channel_runs_several_calls_and_ends_after_all_of_them() {
    let mut harness = Harness::concurrent(Serializer::V2, 2);
    harness.send(r#"["11","1","room:a","phx_join",{}]"#);
    harness.accept_join();
    assert_eq!(harness.send(r#"["11","2","room:a","one",{}]"#), ["call handle_in one"]);
    assert_eq!(harness.send(r#"["11","3","room:a","two",{}]"#), ["call handle_in two"]);
    assert_eq!(harness.send(r#"["11","4","room:a","phx_leave",{}]"#), [""; 0]);
    assert_eq!(
        harness.end_with(Vec::<Effect>::new()),
        [""; 0],
        "the leave waits for the other call"
    );
    let described = harness.end_with(vec![reply("2")]);
    assert_eq!(described[0], r#"["11","3","room:a","phx_reply",{"status":"ok","response":2}]"#);
    assert_eq!(described[1], format!(r#"["11","4","room:a",{OK}"#));
    assert_eq!(described[4..], ["call terminate left"]);
}

#[test]
fn concurrent_calls_start_from_the_assigns_of_their_start_and_the_last_wins() {
    let mut harness = Harness::concurrent(Serializer::V2, 2);
    harness.send(r#"["11","1","room:a","phx_join",{}]"#);
    harness.accept_join();
    harness.send(r#"["11","2","room:a","one",{}]"#);
    harness.send(r#"["11","3","room:a","two",{}]"#);
    for data in ["first", "last"] {
        let assigns = Some(Assigns { schema: 0, data: data.into() });
        harness.end(Ok(Completion::Handled(Outcome { effects: Vec::new(), assigns })));
    }
    harness.send(r#"["11","4","room:a","three",{}]"#);
    assert_eq!(harness.calls[0].assigns.as_ref().unwrap().data, "last");
}

#[test]
fn a_call_that_takes_too_long_or_is_not_made_answers_and_the_channel_goes_on() {
    let mut harness = joined();
    harness.send(r#"["11","2","room:a","slow",{}]"#);
    harness.send(r#"["11","3","room:a","ping",{}]"#);
    let error = |reference: u8, response: &str| {
        format!(
            r#"["11","{reference}","room:a","phx_reply",{{"status":"error","response":{response}}}]"#
        )
    };
    assert_eq!(
        harness.end(Err(Failure::TimedOut)),
        [error(2, r#"{"reason":"handler timeout"}"#), "call handle_in ping".to_owned()]
    );
    assert_eq!(
        harness.end(Err(Failure::Unavailable { retry_after_ms: 70 })),
        [error(3, r#"{"reason":"unavailable","retry_after_ms":70}"#)]
    );
}
