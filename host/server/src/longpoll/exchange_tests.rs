//! Tests of the exchange: what is read, polled and lost between a session and its client.

use futures_util::task::noop_waker_ref;
use proptest::prelude::*;

use super::*;
use crate::longpoll::PendingPoll;
use crate::net::OnFlush;

fn exchange() -> Arc<Exchange> {
    Exchange::new(Metrics::none())
}

fn cx() -> Context<'static> {
    Context::from_waker(noop_waker_ref())
}

fn frame(number: usize) -> Frame {
    Frame::from(number.to_string())
}

/// The session hands over what it has, as far as there is room.
fn send(exchange: &Exchange, queue: &mut VecDeque<Frame>) {
    while !queue.is_empty() && exchange.poll_room(&mut cx()).is_ready() {
        queue.drain(..1).for_each(|frame| exchange.push(frame));
    }
    let _ = exchange.poll_flush(&mut cx());
}

fn poll(exchange: &Arc<Exchange>, number: u64) -> Option<Polled> {
    match exchange.poll_messages(number, &mut cx()) {
        Poll::Ready(polled) => Some(polled),
        Poll::Pending => None,
    }
}

fn batch(exchange: &Arc<Exchange>, number: u64) -> Batch {
    match poll(exchange, number) {
        Some(Polled::Messages(batch)) => batch,
        other => panic!("messages were expected, found {other:?}"),
    }
}

/// Writes the answer with a batch, as HTTP does.
fn write(batch: Batch) {
    use hyper::body::Body;
    let on_flush = OnFlush::default();
    let mut body = batch.into_body("{}".to_owned(), &on_flush);
    let data = std::pin::Pin::new(&mut body).poll_frame(&mut cx());
    assert!(data.is_ready() && body.is_end_stream());
    on_flush.flushed();
}

#[test]
fn a_poll_takes_what_waits_and_the_next_what_comes_later() {
    let exchange = exchange();
    let mut queue = VecDeque::from([frame(1), frame(2)]);
    send(&exchange, &mut queue);
    assert_eq!(queue.len(), 2, "without a poll, messages stay in the outbox");
    let first = exchange.begin_poll();
    assert!(poll(&exchange, first).is_none());
    send(&exchange, &mut queue);
    let taken = batch(&exchange, first);
    assert_eq!(taken.messages, [frame(1), frame(2)]);
    let second = exchange.begin_poll();
    queue.push_back(frame(3));
    send(&exchange, &mut queue);
    assert!(poll(&exchange, second).is_none(), "the first answer is being written");
    write(taken);
    assert_eq!(exchange.delivered(), 2);
    send(&exchange, &mut queue);
    assert_eq!(batch(&exchange, second).messages, [frame(3)]);
}

#[test]
fn a_second_poll_ends_the_first() {
    let exchange = exchange();
    let (first, second) = (exchange.begin_poll(), exchange.begin_poll());
    assert!(matches!(poll(&exchange, first), Some(Polled::Superseded)));
    exchange.end_poll(first);
    assert!(poll(&exchange, second).is_none());
    send(&exchange, &mut VecDeque::from([frame(1)]));
    assert_eq!(batch(&exchange, second).messages, [frame(1)]);
}

#[test]
fn an_answer_that_is_not_written_gives_its_messages_to_the_next_poll() {
    let exchange = exchange();
    for lose in [
        |batch: Batch| drop(batch),
        |batch: Batch| drop(batch.into_body("{}".to_owned(), &OnFlush::default())),
        |batch: Batch| {
            // HTTP has the bytes, and the connection ends before they are written.
            use hyper::body::Body;
            let on_flush = OnFlush::default();
            let mut body = batch.into_body("{}".to_owned(), &on_flush);
            assert!(std::pin::Pin::new(&mut body).poll_frame(&mut cx()).is_ready());
        },
    ] {
        let first = exchange.begin_poll();
        send(&exchange, &mut VecDeque::from([frame(1)]));
        lose(batch(&exchange, first));
        assert!(exchange.poll_flush(&mut cx()).is_pending(), "no poll waits");
        let second = exchange.begin_poll();
        send(&exchange, &mut VecDeque::from([frame(2)]));
        let taken = batch(&exchange, second);
        assert_eq!(taken.messages, [frame(1), frame(2)]);
        write(taken);
    }
}

#[test]
fn one_poll_takes_a_bounded_batch() {
    let exchange = exchange();
    let number = exchange.begin_poll();
    let large = Frame::from("x".repeat(MAX_BATCH_BYTES / 2));
    let mut queue = VecDeque::from(vec![large; 3]);
    send(&exchange, &mut queue);
    assert_eq!((batch(&exchange, number).messages.len(), queue.len()), (2, 1));
}

#[test]
fn the_end_is_told_after_the_last_messages() {
    let exchange = exchange();
    let first = exchange.begin_poll();
    send(&exchange, &mut VecDeque::from([frame(1)]));
    exchange.end();
    assert!(exchange.poll_told(&mut cx()).is_pending());
    write(batch(&exchange, first));
    let second = exchange.begin_poll();
    assert!(matches!(poll(&exchange, second), Some(Polled::Ended)));
    assert!(exchange.poll_told(&mut cx()).is_ready());
    let posted = exchange.poll_post(&mut VecDeque::from([frame(2)]), &mut cx());
    assert_eq!(posted, Poll::Ready(Posted::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_post_waits_until_its_messages_are_read() {
    use crate::longpoll::post;
    use std::time::Duration;
    let (exchange, timeout) = (exchange(), Duration::from_secs(10));
    assert_eq!(post(&exchange, Vec::new(), timeout).await, Some(Posted::Read));
    let frames: Vec<_> = (0..100).map(frame).collect();
    assert_eq!(post(&exchange, frames.clone(), timeout).await, None, "nobody reads");
    assert!(exchange.is_read(), "what was not read is dropped");
    let reading = async {
        for number in 0..100 {
            assert_eq!(std::future::poll_fn(|cx| exchange.poll_frame(cx)).await, frame(number));
        }
    };
    let (posted, ()) = tokio::join!(post(&exchange, frames.clone(), timeout), reading);
    assert_eq!(posted, Some(Posted::Read));
    let ending = async { exchange.end() };
    let (posted, ()) = tokio::join!(post(&exchange, frames, timeout), ending);
    assert_eq!(posted, Some(Posted::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_there_while_it_polls() {
    use std::time::Duration;
    let (exchange, began) = (exchange(), Instant::now());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(exchange.polled_at(), began);
    let poll = PendingPoll::begin(&exchange);
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(exchange.polled_at(), Instant::now());
    drop(poll);
    let ended = Instant::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(exchange.polled_at(), ended);
}

/// A thing that happens between a session and its client.
#[derive(Clone, Copy, Debug)]
enum Step {
    Message,
    Send,
    BeginPoll,
    EndPoll,
    Take,
    Write,
    Lose,
}

proptest! {
    /// Whatever happens to polls and answers, each message is written once, and in order.
    #[test]
    fn messages_are_written_once_and_in_order(
        steps in prop::collection::vec(prop::sample::select(&[
            Step::Message, Step::Send, Step::BeginPoll, Step::EndPoll, Step::Take, Step::Write,
            Step::Lose,
        ][..]), 0..200),
    ) {
        let exchange = exchange();
        let (mut queue, mut made, mut written) = (VecDeque::new(), 0, Vec::new());
        let (mut number, mut in_flight) = (0, None);
        for step in steps {
            match step {
                Step::Message => {
                    queue.push_back(frame(made));
                    made += 1;
                }
                Step::Send => send(&exchange, &mut queue),
                Step::BeginPoll => number = exchange.begin_poll(),
                Step::EndPoll => exchange.end_poll(number),
                Step::Take => if let Some(Polled::Messages(batch)) = poll(&exchange, number) {
                    prop_assert!(in_flight.is_none());
                    in_flight = Some(batch);
                },
                Step::Write => if let Some(batch) = in_flight.take() {
                    written.extend(batch.messages.iter().cloned());
                    write(batch);
                },
                Step::Lose => in_flight = None,
            }
        }
        drop(in_flight.take());
        while written.len() < made {
            number = exchange.begin_poll();
            send(&exchange, &mut queue);
            let batch = batch(&exchange, number);
            written.extend(batch.messages.iter().cloned());
            write(batch);
        }
        let expected: Vec<_> = (0..made).map(frame).collect();
        prop_assert_eq!(written, expected);
    }
}
