//! Tests of rounds: the turns of connections, and messages that are lost to a panic.

use std::pin::Pin;
use std::task::Wake;

use millrace_session::channel::{Assigns, Caller, Context as Channel, Effect, Failure};
use millrace_session::{CallPurpose, Ticket};
use millrace_telemetry::Metrics;
use millrace_wire::{Payload, TopicPattern};

use super::*;
use crate::config::DashboardConfig;
use crate::dashboard::{Dashboard, History};
use crate::plugin::HandlerKind;

/// The progress of calls that flush no effects.
#[derive(Debug)]
struct Nothing;

impl Progress for Nothing {
    fn flush(
        self: Arc<Self>,
        _: Caller,
        _: Vec<Effect>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }

    fn server(&self) -> u64 {
        0
    }
}

fn call(event: &str) -> Call<Arc<Handler>> {
    let config = DashboardConfig { enabled: true, token: None };
    let kind = HandlerKind::Native(Arc::new(Dashboard::new(config, Arc::<History>::default())));
    let pattern = TopicPattern::parse("room:*").unwrap();
    let context = Channel {
        connection: 1,
        channel: 2,
        topic: "room:a".into(),
        join_ref: None,
        sent_join_ref: None,
        join_message_ref: None,
        user_id: None,
    };
    let caller = Caller { context: Arc::new(context), reply_to: None, number: 0 };
    let (event, payload) = (event.into(), Payload::empty());
    Call {
        plugin: Arc::new(Arc::new(Handler::new(pattern, kind, &Metrics::none()))),
        callback: Callback::HandleIn { event, payload, wants_reply: true },
        assigns: Some(Assigns::default()),
        ticket: Ticket { caller, purpose: CallPurpose::Message, bytes: 0 },
    }
}

/// A run of messages with these events.
fn run(events: &[&str], results: &Arc<RoundResults>) -> ChannelRun {
    ChannelRun {
        calls: events.iter().map(|event| Box::new(call(event))).collect(),
        progress: Arc::new(Nothing),
        results: Arc::clone(results),
        waker: Some(Waker::noop().clone()),
    }
}

/// The event of the first message of a run.
fn first_event(run: &ChannelRun) -> String {
    let event = run.messages().next().map(|message| message.event.to_string());
    event.unwrap_or_default()
}

#[test]
fn what_is_left_of_a_turn_comes_after_all_others() {
    let mut round = Round { in_turn: VecDeque::new(), used_up: VecDeque::new(), waker: None };
    let (greedy, modest) = (Arc::<RoundResults>::default(), Arc::<RoundResults>::default());
    for event in ["greedy 1", "greedy 2", "greedy 3"] {
        round.add(run(&[event], &greedy));
    }
    round.add(run(&["modest 1"], &modest));
    let mut order = Vec::new();
    while let Some(next) = round.next() {
        order.push(first_event(&next));
        next.results.add_used(if order.len() == 1 { SLICE_FUEL } else { 1 });
        if order.len() == 2 {
            // A run of the other connection that comes meanwhile.
            round.add(run(&["modest 2"], &modest));
        }
    }
    while let Some(next) = round.next_used_up() {
        order.push(first_event(&next));
    }
    assert_eq!(order, ["greedy 1", "modest 1", "modest 2", "greedy 2", "greedy 3"]);
}

#[test]
fn what_was_not_begun_keeps_its_place() {
    let mut round = Round { in_turn: VecDeque::new(), used_up: VecDeque::new(), waker: None };
    let (greedy, modest) = (Arc::<RoundResults>::default(), Arc::<RoundResults>::default());
    round.add(run(&["behind"], &modest));
    greedy.add_used(SLICE_FUEL);
    let left = vec![run(&["greedy"], &greedy), run(&["a"], &modest), run(&["b"], &modest)];
    round.put_back(left, false);
    let order: Vec<String> =
        std::iter::from_fn(|| round.next()).map(|run| first_event(&run)).collect();
    assert_eq!(order, ["a", "b", "behind"]);
    assert_eq!(round.next_used_up().map(|run| first_event(&run)).unwrap(), "greedy");
}

#[test]
fn what_was_used_above_a_turn_comes_off_the_next() {
    let results = RoundResults::default();
    results.add_used(SLICE_FUEL + 7);
    results.begin();
    assert!(results.has_used_up(), "new messages do not make it forgotten");
    results.begin_turn();
    assert_eq!(results.used(), 7);
    results.begin();
    assert_eq!(results.used(), 0);
}

#[test]
fn a_connection_does_not_wait_for_messages_that_were_lost() {
    let results = Arc::<RoundResults>::default();
    let run = run(&["first", "second"], &results);
    let handled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _run = run;
        panic!("while it is handled");
    }));
    assert!(handled.is_err());
    let returned = results.take();
    let events = returned.finished.iter().filter_map(|called| called.event().map(|e| &**e));
    assert_eq!((returned.runs, events.collect::<Vec<_>>()), (1, vec!["first", "second"]));
    for called in returned.finished {
        let failure = called.result.as_ref().map_err(Fault::failure).unwrap_err();
        assert!(matches!(failure, Failure::Crashed), "{failure:?}");
    }
}

#[test]
fn a_round_goes_on_after_a_panic_between_its_calls() {
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("while a connection is told of its messages");
        }
    }

    let _running = Running;
    let mut cx = Context::from_waker(Waker::noop());
    assert!(one_turn(&mut cx).is_pending());
    let (first, second) = (Arc::<RoundResults>::default(), Arc::<RoundResults>::default());
    let mut broken = run(&["first"], &first);
    broken.waker = Some(Arc::new(Panics).into());
    assert!(add(broken) && add(run(&["second"], &second)));
    assert!(one_turn(&mut cx).is_ready(), "there is more to do");
    assert!(one_turn(&mut cx).is_pending());
    assert_eq!((first.take().runs, second.take().runs), (1, 1));
}
