//! Tests of who gets the next instance.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use millrace_telemetry::Metrics;
use proptest::prelude::*;

use super::*;

fn limit(max_instances: u32) -> Arc<InstanceLimit> {
    let limits = PluginLimits { max_instances, ..Default::default() };
    InstanceLimit::new(&limits, &WasmMeters::new(&Metrics::none(), "p", "v"))
}

fn call(owner: u64) -> QueueKey {
    QueueKey { owner, kind: WorkKind::Call }
}

fn task(owner: u64) -> QueueKey {
    QueueKey { owner, kind: WorkKind::Task }
}

/// Holds as many as the owner may have.
fn holds(limit: &Arc<InstanceLimit>, key: QueueKey) -> Vec<InstanceHold> {
    std::iter::from_fn(|| limit.try_hold(key)).collect()
}

#[test]
fn there_are_as_many_seats_as_instances() {
    let limit = limit(2);
    let (first, _second) =
        (limit.try_permit(call(1), false).unwrap(), limit.try_permit(call(2), false));
    assert!(limit.try_permit(call(3), false).is_none());
    drop(first);
    assert!(limit.try_permit(call(3), false).is_some());
}

#[test]
fn one_party_has_half_and_something_is_left_for_others() {
    let limit = limit(2048);
    let first = holds(&limit, call(1));
    assert_eq!(first.len(), 1024);
    let second = holds(&limit, call(2));
    assert_eq!(second.len(), 512);
    let others: Vec<_> = (3..100).map(|owner| holds(&limit, call(owner))).collect();
    assert!(others.iter().all(|held| !held.is_empty()));
    drop((first, second, others));
    assert_eq!((limit.held.load(Ordering::Relaxed), limit.state().shares.len()), (0, 0));
}

#[test]
fn tasks_of_one_leave_tasks_to_others() {
    let limit = limit(2048);
    // Half of all, which is two thirds of those for tasks.
    let first = holds(&limit, task(1));
    assert_eq!(first.len(), 1024);
    let others: Vec<_> = (2..90).map(|owner| holds(&limit, task(owner))).collect();
    assert_eq!(others.first().map(Vec::len), Some(342));
    assert!(others.iter().all(|held| !held.is_empty()));
    assert!(limit.may_have(task(90)) && limit.may_have(call(90)));
}

#[test]
fn two_that_take_turns_have_a_third_each() {
    let limit = limit(300);
    let mut held = [Vec::new(), Vec::new()];
    for turn in 0..1000 {
        let owner = turn % 2;
        held[owner].extend(limit.try_hold(call(owner as u64)));
    }
    assert_eq!(held.map(|held| held.len()), [100, 100]);
}

#[test]
fn one_instance_is_enough_for_a_task_and_then_a_call() {
    let limit = limit(1);
    let running = limit.try_hold(task(1)).unwrap();
    assert!(limit.try_hold(task(2)).is_none());
    assert!(!limit.may_have(call(2)));
    drop(running);
    assert!(limit.may_have(call(2)));
}

#[test]
fn tasks_leave_a_quarter_to_calls() {
    let limit = limit(400);
    let held: Vec<_> = (0..1000).filter_map(|owner| limit.try_hold(task(owner))).collect();
    assert_eq!(held.len(), 300);
    assert!(limit.may_have(call(1)));
}

type Wait = Pin<Box<dyn Future<Output = Granted>>>;

/// Polls those that wait once; returns what was granted, with the owners.
fn granted(waiting: &mut [(u64, Wait, bool)]) -> Vec<(u64, Granted)> {
    let mut granted = Vec::new();
    for (owner, future, is_done) in waiting.iter_mut().filter(|(_, _, is_done)| !is_done) {
        if let Poll::Ready(got) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            *is_done = true;
            granted.push((*owner, got));
        }
    }
    granted
}

#[test]
fn those_that_wait_take_turns_and_who_has_gone_takes_none() {
    let limit = limit(1);
    let idle = limit.add_version();
    let mut permit = limit.try_permit(call(9), false);
    let wait = |owner| {
        let (limit, idle) = (Arc::clone(&limit), Arc::clone(&idle));
        let waits = async move { limit.wait(call(owner), &idle, true, || false).await };
        (owner, Box::pin(waits) as Wait, false)
    };
    let mut waiting: Vec<_> = [1, 1, 1, 2, 3].map(wait).into_iter().collect();
    assert!(granted(&mut waiting).is_empty());
    assert!(limit.is_awaited() && limit.waiting() == 5);
    // The call that waited longest gives up.
    drop(waiting.remove(0));
    let mut order = Vec::new();
    for _ in 0..4 {
        drop(permit.take());
        let mut got = granted(&mut waiting);
        assert_eq!(got.len(), 1);
        let (owner, got) = got.remove(0);
        order.push(owner);
        let Granted::Permit(next, _hold) = got else { panic!("no permit") };
        permit = Some(next);
    }
    assert_eq!(order, [1, 2, 3, 1]);
    drop(waiting);
    assert!(!limit.is_awaited() && limit.waiting() == 0);
}

#[test]
fn one_above_its_share_waits_and_holds_up_nobody() {
    let limit = limit(4);
    let idle = limit.add_version();
    let held = holds(&limit, call(1));
    let mut wait = pin!(limit.wait(call(1), &idle, true, || false));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(wait.as_mut().poll(cx).is_pending());
    assert!(!limit.is_awaited() && limit.try_permit(call(2), false).is_some());
    drop(held);
    assert!(matches!(wait.as_mut().poll(cx), Poll::Ready(Granted::Permit(..))));
}

#[test]
fn those_that_wait_for_a_version_that_is_superseded_are_told() {
    let limit = limit(1);
    let (old, new) = (limit.add_version(), limit.add_version());
    let _permit = limit.try_permit(call(9), false);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut moves = pin!(limit.wait(call(1), &old, true, || false));
    let mut stays = pin!(limit.wait(call(1), &old, false, || false));
    let mut other = pin!(limit.wait(call(2), &new, true, || false));
    assert!(moves.as_mut().poll(cx).is_pending());
    assert!(stays.as_mut().poll(cx).is_pending());
    assert!(other.as_mut().poll(cx).is_pending());
    limit.supersede(&old);
    assert!(matches!(moves.as_mut().poll(cx), Poll::Ready(Granted::Superseded)));
    assert!(stays.as_mut().poll(cx).is_pending());
    assert!(other.as_mut().poll(cx).is_pending());
    let mut late = pin!(limit.wait(call(3), &old, true, || true));
    assert!(matches!(late.as_mut().poll(cx), Poll::Ready(Granted::Superseded)));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(QueueKey),
    End(usize),
    GiveUp(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = (0..4_u64, any::<bool>())
        .prop_map(|(owner, is_task)| if is_task { task(owner) } else { call(owner) });
    let step = prop_oneof![
        3 => key.prop_map(Step::Begin),
        2 => (0..64_usize).prop_map(Step::End),
        1 => (0..64_usize).prop_map(Step::GiveUp),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// Whatever begins, ends and gives up: there are never too many instances or tasks, nobody
    /// waits who may have what is there, and in the end all is given back.
    #[test]
    fn seats_are_neither_lost_nor_doubled(max in 1..9_u32, steps in steps()) {
        let limit = limit(max);
        let idle = limit.add_version();
        let mut running: Vec<(InstancePermit, InstanceHold)> = Vec::new();
        let mut waiting = Vec::new();
        for step in steps {
            match step {
                Step::Begin(key) => {
                    let (limit, idle) = (Arc::clone(&limit), Arc::clone(&idle));
                    let waits = async move { limit.wait(key, &idle, true, || false).await };
                    let waits: Wait = Box::pin(waits);
                    waiting.push((key.owner, waits, false));
                }
                Step::End(at) if at < running.len() => drop(running.remove(at)),
                Step::GiveUp(at) if at < waiting.len() => drop(waiting.remove(at)),
                Step::End(_) | Step::GiveUp(_) => {}
            }
            for (_, got) in granted(&mut waiting) {
                let Granted::Permit(permit, hold) = got else { panic!("no permit") };
                running.push((permit, hold));
            }
            waiting.retain(|(_, _, is_done)| !is_done);
            let tasks = running.iter().filter(|(_, hold)| hold.key.kind == WorkKind::Task).count();
            prop_assert!(running.len() <= max as usize && tasks <= limit.max_tasks);
            prop_assert_eq!(limit.live_count(), running.len());
            prop_assert_eq!(limit.waiting(), waiting.len());
            prop_assert!(!running.is_empty() || waiting.is_empty());
        }
        drop((running, waiting));
        prop_assert_eq!(limit.live_count(), 0);
        prop_assert!(limit.state().shares.is_empty() && limit.state().queue.is_empty());
        prop_assert_eq!((limit.held.load(Ordering::Relaxed), limit.state().tasks), (0, 0));
    }
}
