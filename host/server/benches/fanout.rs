//! What a broadcast costs for each subscriber, up to its outbox, and what the
//! effects of a call cost: `cargo bench -p millrace --bench fanout`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divan::Bencher;
use divan::counter::ItemsCount;
use millrace::bench::{
    Delivery, JoinedSession, LocalOnly, Outbox, Overflow, PubSub, Subscriber, outbox,
};
use millrace_session::channel::{Broadcast, ChannelEffect, Effect};
use millrace_telemetry::Metrics;
use millrace_wire::{Frame, Payload, Serializer};

fn main() {
    divan::main();
}

fn payload() -> Payload {
    Payload::Json(format!(r#"{{"body":"{}"}}"#, "x".repeat(89)).into())
}

/// A broadcast, and each outbox emptied as its connection would.
#[divan::bench(args = [1, 100, 1_000, 10_000])]
fn broadcast(bencher: Bencher<'_, '_>, subscribers: usize) {
    let pubsub = PubSub::new(Box::new(LocalOnly), Metrics::none());
    let topic: Arc<str> = "room:a".into();
    let outboxes: Vec<Arc<Outbox>> = (0..subscribers).map(|_| Arc::new(outbox(1 << 20))).collect();
    for (channel, outbox) in outboxes.iter().enumerate() {
        let subscriber = Subscriber {
            channel: channel as u64,
            topic: Arc::clone(&topic),
            outbox: Arc::clone(outbox),
            overflow: Overflow::Close,
            knows_presences: false,
            delivery: Delivery::Fastlane { serializer: Serializer::V2, intercepts: Arc::new([]) },
        };
        pubsub.subscribe(&topic, subscriber);
    }
    let broadcast = Arc::new(Broadcast { topic, event: "shout".into(), payload: payload() });
    let mut taken = VecDeque::new();
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        assert_eq!(pubsub.broadcast(&broadcast, None, None), subscribers);
        for outbox in &outboxes {
            let context = &mut Context::from_waker(Waker::noop());
            let ready = outbox.poll_take(context, &mut taken, 1 << 20);
            assert_eq!(ready, Poll::Ready(Ok(true)));
            taken.clear();
        }
    });
}

/// A message in, and the effects of its call out: pushes, besides the reply.
#[divan::bench(args = [0, 1, 10, 100])]
fn effects(bencher: Bencher<'_, '_>, pushes: usize) {
    let mut joint = JoinedSession::new().unwrap();
    let message = Frame::from(r#"["1","17","room:a","ping",{}]"#.to_owned());
    let push =
        || Effect::from(ChannelEffect::Push { event: "pushed".to_owned(), payload: payload() });
    let reply = || Effect::from(ChannelEffect::Reply { status: "ok".into(), payload: payload() });
    let effects = || std::iter::once(reply()).chain((0..pushes).map(|_| push())).collect();
    bencher.with_inputs(effects).bench_local_values(|effects: Vec<_>| {
        let call = joint.receive(&message).unwrap();
        assert_eq!(joint.handled(&call, effects), pushes + 1);
    });
}
