//! Does one thing so often, for `.ci/instructions.mjs` to count the instructions of
//! twice as many: `instructions call|together|text|binary TIMES`.
//!
//! The compiled plugin comes from the cache, so that under valgrind nothing is
//! compiled but in the first run.

#[path = "../benches/guest/mod.rs"]
mod guest;

use std::hint::black_box;

use bytes::Bytes;
use guest::{Guest, json};
use millrace_wire::{Frame, Payload, Serializer};

const PAYLOAD_BYTES: usize = 100;
const TOGETHER: usize = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, times] = arguments.as_slice() else {
        panic!("call|together|text|binary TIMES is expected")
    };
    let times: usize = times.parse().expect("a number of times");
    match what.as_str() {
        "call" => call(times),
        "together" => together(times),
        "text" => codec(times, &text()),
        "binary" => codec(times, &binary()),
        _ => panic!("call, together, text or binary is expected, found {what:?}"),
    }
}

/// `ping` of the probe, which is answered with its payload.
fn call(times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (guest, payload) = (Guest::probe(true).await, json(PAYLOAD_BYTES));
        for _ in 0..times {
            guest.ping(&payload).await;
        }
    });
}

/// Sixteen `ping`s in one call.
fn together(times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (guest, payload) = (Guest::probe(true).await, json(PAYLOAD_BYTES));
        guest.ping(&payload).await;
        for _ in 0..times {
            guest.pings(&payload, TOGETHER).await;
        }
    });
}

/// A message in, its reply and a broadcast out.
fn codec(times: usize, frame: &Frame) {
    for _ in 0..times {
        let message = Serializer::V2.decode(black_box(frame)).unwrap();
        let (join_ref, reference) = (message.join_ref.as_ref(), message.reference.as_ref());
        let (topic, payload) = (&message.topic, &message.payload);
        let reply = Serializer::V2.reply(join_ref, reference, topic, "ok", payload);
        black_box(reply).unwrap();
        let broadcast = Serializer::V2.broadcast(topic, &message.event, payload);
        black_box(broadcast).unwrap();
    }
}

fn text() -> Frame {
    let Payload::Json(json) = json(PAYLOAD_BYTES) else { panic!("JSON is expected") };
    Frame::from(format!(r#"["1","17","room:a","ping",{json}]"#))
}

/// Kind, four lengths, the texts, the payload.
fn binary() -> Frame {
    let mut frame = vec![0, 1, 2, 6, 4];
    frame.extend_from_slice(b"117room:aping");
    frame.resize(frame.len() + PAYLOAD_BYTES, b'x');
    Frame::Binary(Bytes::from(frame))
}
