//! What a frame costs to take apart and to put together, by the size of its
//! payload, and what finding its route costs: `cargo bench -p millrace --bench
//! codec`.

use bytes::Bytes;
use divan::{Bencher, black_box};
use millrace_session::{Route, Routes};
use millrace_wire::{Frame, Payload, Serializer, TopicPattern};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [64, 1024, 16 * 1024];

fn json(bytes: usize) -> String {
    format!(r#"{{"body":"{}"}}"#, "x".repeat(bytes.saturating_sub(11)))
}

/// A push of a client's, as the binary format has it: kind, four lengths, the
/// texts, the payload.
fn binary(bytes: usize) -> Frame {
    let mut frame = vec![0, 1, 2, 6, 4];
    frame.extend_from_slice(b"117room:aping");
    frame.resize(frame.len() + bytes, b'x');
    Frame::Binary(Bytes::from(frame))
}

#[divan::bench(args = SIZES)]
fn decode_v2_text(bencher: Bencher<'_, '_>, bytes: usize) {
    let frame = Frame::from(format!(r#"["1","17","room:a","ping",{}]"#, json(bytes)));
    bencher.bench_local(|| Serializer::V2.decode(black_box(&frame)).unwrap());
}

#[divan::bench(args = SIZES)]
fn decode_v2_binary(bencher: Bencher<'_, '_>, bytes: usize) {
    let frame = binary(bytes);
    bencher.bench_local(|| Serializer::V2.decode(black_box(&frame)).unwrap());
}

#[divan::bench(args = SIZES)]
fn encode_v2_text(bencher: Bencher<'_, '_>, bytes: usize) {
    let payload = Payload::Json(json(bytes).into());
    let frame = Frame::from(r#"["1","17","room:a","ping",{}]"#.to_owned());
    let message = Serializer::V2.decode(&frame).unwrap();
    bencher.bench_local(|| {
        let (join_ref, reference) = (message.join_ref.as_ref(), message.reference.as_ref());
        Serializer::V2.reply(join_ref, reference, "room:a", "ok", black_box(&payload)).unwrap()
    });
}

#[divan::bench(args = SIZES)]
fn encode_v2_broadcast(bencher: Bencher<'_, '_>, bytes: usize) {
    let payload = Payload::Json(json(bytes).into());
    bencher.bench_local(|| Serializer::V2.broadcast("room:a", "shout", black_box(&payload)));
}

/// The last of so many patterns.
#[divan::bench(args = [1, 10, 100])]
fn route(bencher: Bencher<'_, '_>, patterns: usize) {
    let route = |n: usize| {
        let pattern = TopicPattern::parse(&format!("room{n}:*")).unwrap();
        Route { pattern, plugin: n, max_concurrency: 1 }
    };
    let routes = Routes::new((1..=patterns).map(route).collect());
    let topic = format!("room{patterns}:lobby");
    bencher.bench_local(|| routes.find(black_box(&topic)).unwrap().plugin);
}
