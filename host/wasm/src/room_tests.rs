//! Who gets the next instance.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use millrace_telemetry::Metrics;
use proptest::prelude::*;

use super::*;

fn room(max_instances: u32) -> Arc<Room> {
    let limits = PluginLimits { max_instances, ..Default::default() };
    Room::new(&limits, &WasmMeters::new(&Metrics::none(), "p", "v"))
}

fn call(party: u64) -> Place {
    Place { party, kind: Kind::Call }
}

fn task(party: u64) -> Place {
    Place { party, kind: Kind::Task }
}

/// As many as the place may have.
fn holds(room: &Arc<Room>, place: Place) -> Vec<Hold> {
    std::iter::from_fn(|| room.hold_ahead(place)).collect()
}

#[test]
fn there_are_as_many_seats_as_instances() {
    let room = room(2);
    let (first, _second) = (room.seat(call(1), false).unwrap(), room.seat(call(2), false));
    assert!(room.seat(call(3), false).is_none());
    drop(first);
    assert!(room.seat(call(3), false).is_some());
}

#[test]
fn one_party_has_half_and_something_is_left_for_others() {
    let room = room(2048);
    let first = holds(&room, call(1));
    assert_eq!(first.len(), 1024);
    let second = holds(&room, call(2));
    assert_eq!(second.len(), 512);
    let others: Vec<_> = (3..100).map(|party| holds(&room, call(party))).collect();
    assert!(others.iter().all(|held| !held.is_empty()));
    drop((first, second, others));
    assert_eq!((room.held.load(Ordering::Relaxed), room.desk().shares.len()), (0, 0));
}

#[test]
fn tasks_of_one_leave_tasks_to_others() {
    let room = room(2048);
    // Half of all, which is two thirds of those for tasks.
    let first = holds(&room, task(1));
    assert_eq!(first.len(), 1024);
    let others: Vec<_> = (2..90).map(|party| holds(&room, task(party))).collect();
    assert_eq!(others.first().map(Vec::len), Some(342));
    assert!(others.iter().all(|held| !held.is_empty()));
    assert!(room.may_have(task(90)) && room.may_have(call(90)));
}

#[test]
fn two_that_take_turns_have_a_third_each() {
    let room = room(300);
    let mut held = [Vec::new(), Vec::new()];
    for turn in 0..1000 {
        let party = turn % 2;
        held[party].extend(room.hold_ahead(call(party as u64)));
    }
    assert_eq!(held.map(|held| held.len()), [100, 100]);
}

#[test]
fn one_instance_is_enough_for_a_task_and_then_a_call() {
    let room = room(1);
    let running = room.hold_ahead(task(1)).unwrap();
    assert!(room.hold_ahead(task(2)).is_none());
    assert!(!room.may_have(call(2)));
    drop(running);
    assert!(room.may_have(call(2)));
}

#[test]
fn tasks_leave_a_quarter_to_calls() {
    let room = room(400);
    let held: Vec<_> = (0..1000).filter_map(|party| room.hold_ahead(task(party))).collect();
    assert_eq!(held.len(), 300);
    assert!(room.may_have(call(1)));
}

type Wait = Pin<Box<dyn Future<Output = Granted>>>;

/// Polls those that wait once; the parties of those that have what they waited for.
fn granted(waiting: &mut [(u64, Wait, bool)]) -> Vec<(u64, Granted)> {
    let mut granted = Vec::new();
    for (party, future, is_done) in waiting.iter_mut().filter(|(_, _, is_done)| !is_done) {
        if let Poll::Ready(got) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            *is_done = true;
            granted.push((*party, got));
        }
    }
    granted
}

#[test]
fn those_that_wait_take_turns_and_who_has_gone_takes_none() {
    let room = room(1);
    let shelf = room.shelf();
    let mut seat = room.seat(call(9), false);
    let wait = |party| {
        let (room, shelf) = (Arc::clone(&room), Arc::clone(&shelf));
        let waits = async move { room.wait(call(party), &shelf, true, || false).await };
        (party, Box::pin(waits) as Wait, false)
    };
    let mut waiting: Vec<_> = [1, 1, 1, 2, 3].map(wait).into_iter().collect();
    assert!(granted(&mut waiting).is_empty());
    assert!(room.is_awaited() && room.waiting() == 5);
    // One that waited longest gives up.
    drop(waiting.remove(0));
    let mut order = Vec::new();
    for _ in 0..4 {
        drop(seat.take());
        let mut got = granted(&mut waiting);
        assert_eq!(got.len(), 1);
        let (party, got) = got.remove(0);
        order.push(party);
        let Granted::Seat(next, _hold) = got else { panic!("no seat") };
        seat = Some(next);
    }
    assert_eq!(order, [1, 2, 3, 1]);
    drop(waiting);
    assert!(!room.is_awaited() && room.waiting() == 0);
}

#[test]
fn one_above_its_share_waits_and_holds_up_nobody() {
    let room = room(4);
    let shelf = room.shelf();
    let held = holds(&room, call(1));
    let mut wait = pin!(room.wait(call(1), &shelf, true, || false));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(wait.as_mut().poll(cx).is_pending());
    assert!(!room.is_awaited() && room.seat(call(2), false).is_some());
    drop(held);
    assert!(matches!(wait.as_mut().poll(cx), Poll::Ready(Granted::Seat(..))));
}

#[test]
fn those_that_wait_for_a_version_that_is_superseded_are_told() {
    let room = room(1);
    let (old, new) = (room.shelf(), room.shelf());
    let _seat = room.seat(call(9), false);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut moves = pin!(room.wait(call(1), &old, true, || false));
    let mut stays = pin!(room.wait(call(1), &old, false, || false));
    let mut other = pin!(room.wait(call(2), &new, true, || false));
    assert!(moves.as_mut().poll(cx).is_pending());
    assert!(stays.as_mut().poll(cx).is_pending());
    assert!(other.as_mut().poll(cx).is_pending());
    room.supersede(&old);
    assert!(matches!(moves.as_mut().poll(cx), Poll::Ready(Granted::Superseded)));
    assert!(stays.as_mut().poll(cx).is_pending());
    assert!(other.as_mut().poll(cx).is_pending());
    let mut late = pin!(room.wait(call(3), &old, true, || true));
    assert!(matches!(late.as_mut().poll(cx), Poll::Ready(Granted::Superseded)));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(Place),
    End(usize),
    GiveUp(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (0..4_u64, any::<bool>())
        .prop_map(|(party, is_task)| if is_task { task(party) } else { call(party) });
    let step = prop_oneof![
        3 => place.prop_map(Step::Begin),
        2 => (0..64_usize).prop_map(Step::End),
        1 => (0..64_usize).prop_map(Step::GiveUp),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// Whatever begins, ends and gives up: no more than there are, no task too many,
    /// nobody waits who may have what is there, and at last all is given back.
    #[test]
    fn seats_are_neither_lost_nor_doubled(max in 1..9_u32, steps in steps()) {
        let room = room(max);
        let shelf = room.shelf();
        let mut running: Vec<(Seat, Hold)> = Vec::new();
        let mut waiting = Vec::new();
        for step in steps {
            match step {
                Step::Begin(place) => {
                    let (room, shelf) = (Arc::clone(&room), Arc::clone(&shelf));
                    let waits = async move { room.wait(place, &shelf, true, || false).await };
                    let waits: Wait = Box::pin(waits);
                    waiting.push((place.party, waits, false));
                }
                Step::End(at) if at < running.len() => drop(running.remove(at)),
                Step::GiveUp(at) if at < waiting.len() => drop(waiting.remove(at)),
                Step::End(_) | Step::GiveUp(_) => {}
            }
            for (_, got) in granted(&mut waiting) {
                let Granted::Seat(seat, hold) = got else { panic!("no seat") };
                running.push((seat, hold));
            }
            waiting.retain(|(_, _, is_done)| !is_done);
            let tasks = running.iter().filter(|(_, hold)| hold.place.kind == Kind::Task).count();
            prop_assert!(running.len() <= max as usize && tasks <= room.max_tasks);
            prop_assert_eq!(room.taken(), running.len());
            prop_assert_eq!(room.waiting(), waiting.len());
            prop_assert!(!running.is_empty() || waiting.is_empty());
        }
        drop((running, waiting));
        prop_assert_eq!(room.taken(), 0);
        prop_assert!(room.desk().shares.is_empty() && room.desk().line.is_empty());
        prop_assert_eq!((room.held.load(Ordering::Relaxed), room.desk().tasks), (0, 0));
    }
}
