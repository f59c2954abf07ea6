//! Messages of one channel that are handed over together, one call behind the other.

use super::*;

/// A harness with a channel whose first message is being handled while others wait.
fn with_waiting(others: &[&str]) -> Harness {
    let mut harness = Harness::new(Serializer::V2);
    harness.send(r#"["1","1","room:a","phx_join",{}]"#);
    harness.accept_join();
    for (number, event) in ["first"].iter().chain(others).enumerate() {
        harness.send(&format!(r#"["1","{}","room:a","{event}",{{}}]"#, number + 2));
    }
    harness
}

#[test]
fn messages_that_wait_can_follow_the_one_before_them() {
    let mut harness = with_waiting(&["second", "phx_leave"]);
    assert_eq!(harness.follow(9), ["call handle_in first", "call handle_in second"]);
    assert!(harness.calls[0].assigns.is_some() && harness.calls[1].assigns.is_none());
    let reply = || vec![ChannelEffect::Reply { status: "ok".into(), payload: Payload::empty() }];
    let answer = |reference| {
        format!(r#"["1","{reference}","room:a","phx_reply",{{"status":"ok","response":{{}}}}]"#)
    };
    assert_eq!(harness.end_with(reply()), [answer(2)]);
    // The leave has waited for both messages.
    let described = harness.end_with(reply());
    assert_eq!(described[..2], [answer(3), answer(4)]);
}

#[test]
fn no_more_follow_than_may() {
    let mut harness = with_waiting(&["second", "third"]);
    assert_eq!(harness.follow(2), ["call handle_in first", "call handle_in second"]);
    let mut concurrent = Harness::concurrent(Serializer::V2, 2);
    concurrent.send(r#"["1","1","room:a","phx_join",{}]"#);
    concurrent.accept_join();
    for number in 2..5 {
        concurrent.send(&format!(r#"["1","{number}","room:a","e",{{}}]"#));
    }
    assert_eq!(concurrent.follow(9).len(), 2, "each sees the assigns as they were at its start");
}

#[test]
fn what_was_not_made_waits_again_in_its_place() {
    let mut harness = with_waiting(&["second", "third"]);
    harness.follow(9);
    let behind = harness.calls.drain(1..).collect();
    harness.session.put_back(behind);
    for next in ["second", "third"] {
        assert_eq!(harness.end_with(Vec::<Effect>::new()), [format!("call handle_in {next}")]);
    }
}

#[test]
fn what_was_not_made_for_a_crash_is_unmatched() {
    let mut harness = with_waiting(&["second"]);
    harness.follow(9);
    let behind = harness.calls.drain(1..).collect();
    harness.session.put_back(behind);
    let described = harness.end(Err(Failure::Crashed));
    let unmatched = r#"[null,"3","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#;
    assert!(described.contains(&unmatched.to_owned()), "{described:?}");
}
