//! Tests of the outbox: its bound in bytes, its order, and how its reader is woken.

use millrace_telemetry::Metrics;
use proptest::prelude::*;
use std::task::Wake;

use super::*;

fn outbox(capacity_bytes: usize) -> Outbox {
    bursting(capacity_bytes, capacity_bytes)
}

fn bursting(capacity_bytes: usize, burst_bytes: usize) -> Outbox {
    Outbox::new(capacity_bytes, burst_bytes, Arc::new(OutboxMeters::new(&Metrics::none())))
}

fn poll(outbox: &Outbox, into: &mut VecDeque<Outgoing>) -> Poll<Result<bool, CloseReason>> {
    outbox.poll_take(&mut Context::from_waker(Waker::noop()), into, 1 << 20)
}

/// The texts of the frames that wait.
fn texts(outbox: &Outbox) -> Vec<String> {
    let mut taken = VecDeque::new();
    assert_eq!(poll(outbox, &mut taken), Poll::Ready(Ok(true)));
    taken.iter().map(text).collect()
}

fn text(outgoing: &Outgoing) -> String {
    let frame = match outgoing {
        Outgoing::Frame(queued) | Outgoing::Droppable(queued) => &queued.frame,
        Outgoing::Conflated(conflated) => &conflated.queued.frame,
        other => panic!("{other:?}"),
    };
    match frame {
        Frame::Text(text) => text.as_str().to_owned(),
        Frame::Binary(_) => panic!("{frame:?}"),
    }
}

/// A frame of `len` bytes that begins with its number.
fn frame(number: usize, len: usize) -> Frame {
    Frame::from(format!("{number:<len$}"))
}

fn push(outbox: &Outbox, overflow: Overflow, frame: Frame, event: &str) -> bool {
    outbox.push_under(overflow, frame.into(), &"t".into(), &event.into())
}

#[test]
fn frames_come_out_in_order() {
    let (outbox, mut taken) = (outbox(1000), VecDeque::new());
    assert!(poll(&outbox, &mut taken).is_pending());
    assert!(outbox.push(Frame::from("a".to_owned())));
    assert!(outbox.push(Frame::from("b".to_owned())));
    assert_eq!(texts(&outbox), ["a", "b"]);
}

#[test]
fn who_has_taken_all_is_woken_for_the_next() {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (outbox, woken) = (outbox(1000), Arc::new(Woken(AtomicBool::new(false))));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut take = |most| outbox.poll_take(&mut cx, &mut VecDeque::new(), most);
    assert!(outbox.push(frame(0, 300)) && outbox.push(frame(1, 300)));
    assert_eq!(take(300), Poll::Ready(Ok(false)));
    assert_eq!(take(1000), Poll::Ready(Ok(true)));
    assert!(!woken.0.load(Ordering::Relaxed));
    assert!(outbox.push(frame(2, 10)));
    assert!(woken.0.load(Ordering::Relaxed));
}

#[test]
fn a_full_outbox_closes_the_connection_and_lets_go_of_its_memory() {
    let (outbox, mut taken) = (outbox(1000), VecDeque::new());
    let frame = Frame::from("x".repeat(400));
    for _ in 0..3 {
        assert!(outbox.push(frame.clone()), "the last may go past the bound");
    }
    assert!(!outbox.push(frame.clone()));
    assert!(!outbox.push(Frame::from(String::new())));
    assert_eq!(poll(&outbox, &mut taken), Poll::Ready(Err(CloseReason::Overloaded)));
    assert!(outbox.lock().queue.is_empty());
}

#[test]
fn the_oldest_droppable_frames_give_way_and_nothing_else() {
    let outbox = outbox(2_000);
    assert!(outbox.push(Frame::from("reply".to_owned())));
    for number in 0..100 {
        assert!(push(&outbox, Overflow::DropOldest, frame(number, 100), "e"));
    }
    let texts = texts(&outbox);
    assert_eq!(texts[0], "reply");
    assert_eq!(texts.last().unwrap().trim(), "99");
    assert!((8..=14).contains(&texts.len()), "{texts:?}");
}

#[test]
fn without_droppable_frames_the_connection_gives_way() {
    let outbox = outbox(1_000);
    assert!(outbox.push(frame(0, 1_800)));
    assert!(!push(&outbox, Overflow::DropOldest, frame(1, 400), "e"));
    let closed = poll(&outbox, &mut VecDeque::new());
    assert_eq!(closed, Poll::Ready(Err(CloseReason::Overloaded)));
}

#[test]
fn conflated_frames_keep_the_place_of_the_first_and_the_text_of_the_last() {
    let outbox = outbox(1_000);
    for (number, event) in [(0, "a"), (1, "b"), (2, "a"), (3, "a")] {
        assert!(push(&outbox, Overflow::Conflate, frame(number, 10), event));
    }
    assert_eq!(texts(&outbox).iter().map(|t| t.trim()).collect::<Vec<_>>(), ["3", "1"]);
    // A frame that was taken is not replaced any more.
    assert!(push(&outbox, Overflow::Conflate, frame(4, 10), "a"));
    assert_eq!(texts(&outbox)[0].trim(), "4");
}

#[test]
fn what_comes_at_once_is_no_sign_of_a_slow_client() {
    let outbox = bursting(1_000, 10_000);
    for number in 0..10 {
        assert!(outbox.push(frame(number, 900)), "{number}");
    }
    assert_eq!(texts(&outbox).len(), 10);
    // From here on, the system takes nothing.
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(outbox.poll_closed(cx).is_pending());
    let pushed = (0..10).take_while(|number| outbox.push(frame(*number, 900))).count();
    assert!(pushed <= 2, "{pushed}");
    assert_eq!(outbox.poll_closed(cx), Poll::Ready(CloseReason::Overloaded));
}

#[test]
fn a_frame_larger_than_the_bound_gets_through_behind_another() {
    let outbox = outbox(1_000);
    assert!(outbox.push(frame(0, 10)) && outbox.push(Frame::from("x".repeat(100_000))));
    assert_eq!(texts(&outbox).len(), 2);
}

#[test]
fn a_clients_own_answers_close_nothing() {
    let outbox = outbox(1_000);
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(outbox.poll_closed(cx).is_pending());
    assert!((0..100).all(|number| outbox.push_own(frame(number, 900))));
    assert_eq!(texts(&outbox).len(), 100);
}

#[derive(Clone, Debug)]
enum Step {
    Plain(usize),
    Droppable(usize),
    Conflated(usize, u8),
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..300usize).prop_map(Step::Plain),
        (1..300usize).prop_map(Step::Droppable),
        (1..300usize, 0..4u8).prop_map(|(len, key)| Step::Conflated(len, key)),
        (0..500usize).prop_map(Step::Take),
    ];
    proptest::collection::vec(step, 0..80)
}

proptest! {
    /// The bytes that wait are counted exactly, plain frames are never lost, and entries stay in
    /// the order of their pushes (a conflated frame has the place of the one that it replaces). Of
    /// each key at most one frame waits, the latest.
    #[test]
    fn whatever_happens_the_books_are_right(steps in steps()) {
        let outbox = outbox(3_000);
        let mut open = true;
        let mut plain: VecDeque<String> = VecDeque::new();
        let mut latest: HashMap<u8, String> = HashMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Plain(len) => {
                    open = outbox.push(frame(number, len));
                    plain.push_back(number.to_string());
                }
                Step::Droppable(len) => {
                    open = push(&outbox, Overflow::DropOldest, frame(number, len), "d");
                }
                Step::Conflated(len, key) => {
                    let event = format!("c{key}");
                    open = push(&outbox, Overflow::Conflate, frame(number, len), &event);
                    latest.insert(key, number.to_string());
                }
                Step::Take(max) => {
                    let mut taken = VecDeque::new();
                    let cx = &mut Context::from_waker(Waker::noop());
                    let _ = outbox.poll_take(cx, &mut taken, max);
                    for outgoing in &taken {
                        let text = text(outgoing).trim().to_owned();
                        match outgoing {
                            Outgoing::Frame(_) => {
                                prop_assert_eq!(Some(text), plain.pop_front());
                            }
                            Outgoing::Conflated(conflated) => {
                                let key = conflated.key.1.as_bytes()[1] - b'0';
                                prop_assert_eq!(Some(text), latest.remove(&key));
                            }
                            _ => {}
                        }
                    }
                }
            }
            if !open {
                break;
            }
            let inner = outbox.lock();
            let bytes: usize = inner.queue.iter().map(Outgoing::bytes).sum();
            prop_assert_eq!(inner.bytes, bytes);
            let waiting = inner.queue.iter().filter(|o| matches!(o, Outgoing::Conflated(_)));
            prop_assert_eq!(waiting.count(), latest.len());
            let frames = inner.queue.iter().filter(|o| matches!(o, Outgoing::Frame(_)));
            prop_assert_eq!(frames.count(), plain.len());
            let last = inner.queue.back().map_or(0, Outgoing::bytes);
            prop_assert!(bytes <= 3_000 + last);
        }
    }
}
