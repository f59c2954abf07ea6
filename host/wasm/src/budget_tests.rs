//! The limits and the grants that stop what a call returns.

use super::*;
use crate::Grants;
use millrace_session::channel::{RefKey, SocketRef};
use millrace_telemetry::{Metric, Metrics};

fn settings(grants: Grants) -> (Settings, Metrics) {
    let metrics = Metrics::in_process();
    let http = crate::egress::EgressConfig::default();
    let settings = Settings::new("relay".to_owned(), Default::default(), http, metrics.clone());
    (settings.with_grants(grants), metrics)
}

fn limits() -> PluginLimits {
    let (max_assigns_bytes, max_effects, max_effect_bytes) = (4, 2, 20);
    PluginLimits { max_assigns_bytes, max_effects, max_effect_bytes, ..Default::default() }
}

fn push(event: &str, json: &[u8]) -> types::Effect {
    types::Effect::Push(types::PushResult {
        event: event.to_owned(),
        payload: types::PayloadResult::Json(json.to_vec()),
    })
}

fn check(effects: Vec<types::Effect>, assigns: Option<&[u8]>) -> Result<Outcome, String> {
    let assigns = assigns.map(|data| types::AssignsResult { schema: 1, data: data.to_vec() });
    let outcome = types::Outcome { effects, assigns };
    let mut budget = Budget::new(&limits(), CallKind::Other, false);
    budget.outcome(outcome, &settings(Grants::default()).0).map_err(|f| f.message)
}

#[test]
fn what_is_allowed_passes() {
    let outcome = check(vec![push("e", b"{\"a\":1}")], Some(b"1234")).unwrap();
    assert_eq!(outcome.effects.len(), 1);
    assert_eq!(outcome.assigns.unwrap().data, "1234");
}

#[test]
fn what_is_flushed_counts_with_what_is_returned() {
    let mut budget = Budget::new(&limits(), CallKind::Task, true);
    let (all, _) = settings(Grants::default());
    assert_eq!(budget.flushed(vec![push("e", b"1")], &all).unwrap().len(), 1);
    let error = budget.effects(vec![push("e", b"1"), push("e", b"1")], &all).unwrap_err();
    assert!(error.message.contains("3 effects, allowed are 2"), "{error}");
    let error = budget.flushed(vec![types::Effect::Stop], &all).unwrap_err();
    assert!(error.message.contains("cannot be flushed"), "{error}");
}

#[test]
fn what_was_handed_comes_back_without_a_copy() {
    let handed = Payload::Json("{\"a\":1}".into());
    let budget = Budget::new(&limits(), CallKind::Other, false);
    let mut budget = budget.handed(Some(&handed));
    let (all, _) = settings(Grants::default());
    let effects = budget.effects(vec![push("e", b"{\"a\":1}")], &all).unwrap();
    let [Effect::Channel(ChannelEffect::Push { payload, .. })] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(payload, &handed);
    let error = budget.effects(vec![push("e", b"{\"a\":")], &all).unwrap_err();
    assert!(error.message.contains("is not JSON"), "{error}");
}

#[test]
fn effects_without_a_grant_are_left_out_and_counted() {
    let named = |names: [&str; 1]| names.map(str::to_owned).to_vec();
    let (settings, metrics) = settings(Grants {
        publish: named(["a"]),
        enqueue: named(["orders"]),
        subscribe: named(["a"]),
        disconnect: named(["guest:*"]),
        ..Grants::default()
    });
    let limits = PluginLimits::default();
    let mut budget = Budget::new(&limits, CallKind::Other, true);
    let broadcast = |topic: Option<&str>| {
        types::Effect::Broadcast(types::BroadcastResult {
            topic: topic.map(str::to_owned),
            event: "e".to_owned(),
            payload: types::PayloadResult::Json(b"1".to_vec()),
        })
    };
    let enqueue = |pipeline: &str| {
        types::Effect::Enqueue(types::Enqueue {
            pipeline: pipeline.to_owned(),
            payload: Vec::new(),
            key: None,
            priority: 0,
            socket_ref: None,
        })
    };
    let asked_for = vec![
        broadcast(None),
        broadcast(Some("a")),
        broadcast(Some("b")),
        enqueue("orders"),
        enqueue("mails"),
        types::Effect::Subscribe("a".to_owned()),
        types::Effect::Subscribe("b".to_owned()),
        types::Effect::Unsubscribe("b".to_owned()),
        types::Effect::Disconnect("guest:1".to_owned()),
        types::Effect::Disconnect("ada".to_owned()),
    ];
    assert_eq!(budget.effects(asked_for, &settings).unwrap().len(), 6);
    let withheld: Vec<_> = budget.take_withheld().iter().map(ToString::to_string).collect();
    assert_eq!(withheld.len(), 4);
    let first = "the topic \"b\" is not granted; granted are [\"a\"] \
                 (plugins.relay.grants.publish)";
    assert_eq!(withheld[0], first);
    for grant in ["publish", "enqueue", "subscribe", "disconnect"] {
        assert_eq!(metrics.total_of(Metric::PluginDenied, &["relay", grant]), 1, "{grant}");
    }
}

#[test]
fn effects_on_reserved_topics_are_left_out() {
    let mut budget = Budget::new(&PluginLimits::default(), CallKind::Other, false);
    let mut effects = Vec::new();
    for topic in ["millrace:dashboard", "phoenix", "millrace"] {
        effects.push(types::Effect::Subscribe(topic.to_owned()));
        effects.push(types::Effect::Broadcast(types::BroadcastResult {
            topic: Some(topic.to_owned()),
            event: "snapshot".to_owned(),
            payload: types::PayloadResult::Json(b"1".to_vec()),
        }));
    }
    assert_eq!(budget.effects(effects, &settings(Grants::default()).0).unwrap().len(), 2);
    let withheld = budget.take_withheld();
    assert_eq!(withheld.len(), 4);
    assert!(withheld[0].to_string().contains("\"millrace:dashboard\" is reserved for"));
}

#[test]
fn who_may_not_be_answered_is_not_and_it_is_no_fault() {
    let (mine, metrics) = settings(Grants::default());
    let refs = RefKey::draw().unwrap();
    let mine = mine.with_refs(refs.clone());
    let socket_ref = SocketRef::of_test(1, "room:a").unwrap();
    let socket_ref = SocketRef { server: refs.server(), ..socket_ref };
    let answer = |text: &str| {
        let payload = types::PayloadResult::Json(b"1".to_vec());
        let reply = types::Reply { status: "ok".to_owned(), payload };
        types::Effect::ReplyTo(types::LateReply { socket_ref: text.to_owned(), reply })
    };
    let (own, others) = (refs.seal(&socket_ref, "relay"), refs.seal(&socket_ref, "room"));
    let asked_for = [own.as_str(), &others, "forged", ""].map(answer).to_vec();
    let mut budget = Budget::new(&PluginLimits::default(), CallKind::Task, true);
    assert_eq!(budget.effects(asked_for.clone(), &mine).unwrap().len(), 1);
    assert_eq!(metrics.total_of(Metric::PluginDenied, &["relay", "reply"]), 3);
    let reply = vec!["room".to_owned()];
    let granted = settings(Grants { reply, ..Grants::default() }).0.with_refs(refs);
    assert_eq!(budget.effects(asked_for, &granted).unwrap().len(), 2);
}

#[test]
fn tasks_have_no_channel() {
    let mut budget = Budget::new(&limits(), CallKind::Task, true);
    let (all, _) = settings(Grants::default());
    let error = budget.effects(vec![types::Effect::Stop], &all).unwrap_err();
    assert!(error.message.contains("a task has no channel"), "{error}");
}

#[test]
fn every_limit_says_what_was_found_and_what_is_allowed() {
    let reply = types::Effect::Reply(types::Reply {
        status: "ok".to_owned(),
        payload: types::PayloadResult::Binary(Vec::new()),
    });
    let topic = types::Effect::Subscribe(String::new());
    for (effects, assigns, problem) in [
        (vec![push("e", b"1"); 3], None, "3 effects, allowed are 2"),
        (vec![push("e", &[b'1'; 11]); 2], None, "more than 20 bytes"),
        (vec![push("e", b"{")], None, "is not JSON: \"{\""),
        (vec![push("e", b"\xff")], None, "not UTF-8"),
        (vec![push(&"e".repeat(256), b"1")], None, "256 bytes, allowed are 255"),
        (vec![reply], None, "needs a message to reply to"),
        (vec![topic], None, "a topic has 0 bytes"),
        (vec![], Some(b"12345".as_slice()), "5 bytes, allowed are 4"),
    ] {
        let error = check(effects, assigns).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}
