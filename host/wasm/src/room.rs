//! How many instances of a plugin may live, its versions together, and who gets the
//! next one.
//!
//! A call that finds an idle instance touches nothing here. Those that are not over at
//! once *hold* an instance, by party; a party may have a further one only as long as it
//! holds fewer than are left: alone it has at most half of all, two of them a third
//! each, and the last ones are for those that hold none. What may not have one, or
//! finds none, waits in turns by party.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millrace_telemetry::WasmMeters;
use tokio::sync::oneshot;

use super::PluginLimits;
use super::line::{Kind, Line, Offered, Place};
use super::memory::Memory;
use super::shelf::{Shelf, Taken};

/// Room for the instances of one plugin (`limits.max_instances`).
pub(super) struct Room {
    max: usize,
    /// Of these, those of tasks (`limits.max_task_instances`).
    max_tasks: usize,
    pub(super) memory: Memory,
    meters: WasmMeters,
    /// Somebody waits who may have the next one.
    awaited: AtomicBool,
    waiting: AtomicUsize,
    /// Calls and tasks that hold an instance.
    held: AtomicUsize,
    /// Idle instances are being ended.
    ends_idle: AtomicBool,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    /// Seats.
    taken: usize,
    /// Tasks that hold an instance.
    tasks: usize,
    /// How many each party holds.
    shares: HashMap<u64, usize>,
    line: Line<Waiter>,
    /// Of the versions.
    shelves: Vec<Weak<Shelf>>,
}

/// One part in so many is left to parties that hold no instance: of many that come one
/// after the other, each has half of what is left, which soon is nothing.
const FOR_NEWCOMERS: usize = 16;

/// A call that waits for an instance of a version.
struct Waiter {
    shelf: Arc<Shelf>,
    /// Whether it is made on another version that takes this one's place.
    moves: bool,
    sender: oneshot::Sender<Granted>,
}

/// What a call has waited for.
pub(super) enum Granted {
    Instance(Box<Taken>, Hold),
    Seat(Seat, Hold),
    /// Nothing: another version is live now.
    Superseded,
}

/// One of a room's; dropping it makes room for another instance.
pub(super) struct Seat(Arc<Room>);

/// A call or task that holds an instance, until it is dropped.
pub(super) struct Hold {
    room: Arc<Room>,
    place: Place,
}

/// A call that waits; it has gone when this is dropped.
struct Waiting<'a> {
    room: &'a Arc<Room>,
    place: Place,
}

impl Room {
    pub(super) fn new(limits: &PluginLimits, meters: &WasmMeters) -> Arc<Self> {
        let max = limits.max_instances as usize;
        Arc::new(Self {
            max,
            max_tasks: limits.max_task_instances() as usize,
            memory: Memory::new(limits.max_total_memory_bytes, meters.memory_total.clone()),
            meters: meters.clone(),
            awaited: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            ends_idle: AtomicBool::new(false),
            desk: Mutex::default(),
        })
    }

    /// The idle instances of one more version.
    pub(super) fn shelf(&self) -> Arc<Shelf> {
        let shelf = Arc::<Shelf>::default();
        let mut desk = self.desk();
        desk.shelves.retain(|shelf| shelf.strong_count() > 0);
        desk.shelves.push(Arc::downgrade(&shelf));
        shelf
    }

    /// How many instances live.
    pub(super) fn taken(&self) -> usize {
        self.desk().taken
    }

    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether somebody waits who comes first.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// Whether so many are held that not everybody may have a further one.
    pub(super) fn is_crowded(&self) -> bool {
        self.held.load(Ordering::Relaxed) * 2 >= self.max
    }

    /// Whether a call may have a further instance.
    pub(super) fn may_have(&self, place: Place) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        self.desk().may_have(place, self, held)
    }

    /// A seat for somebody who may have one, or has a hold, if there is one and nobody
    /// comes first.
    pub(super) fn seat(self: &Arc<Self>, place: Place, has_hold: bool) -> Option<Seat> {
        let mut desk = self.desk();
        let held = self.held.load(Ordering::Relaxed);
        let may_have = !self.is_awaited() && (has_hold || desk.may_have(place, self, held));
        if may_have { self.take_seat(&mut desk) } else { None }
    }

    fn take_seat(self: &Arc<Self>, desk: &mut Desk) -> Option<Seat> {
        if desk.taken >= self.max || !self.memory.has_for_fresh() {
            return None;
        }
        desk.taken += 1;
        self.meters.instances.add(1);
        Some(Seat(Arc::clone(self)))
    }

    /// A call or task goes on that has an instance.
    pub(super) fn hold(self: &Arc<Self>, place: Place) -> Hold {
        self.take_hold(&mut self.desk(), place)
    }

    /// The same for a task that has no instance yet, if it may have one and nobody
    /// comes first.
    pub(super) fn hold_ahead(self: &Arc<Self>, place: Place) -> Option<Hold> {
        let mut desk = self.desk();
        let held = self.held.load(Ordering::Relaxed);
        let may_have = !self.is_awaited() && desk.may_have(place, self, held);
        may_have.then(|| self.take_hold(&mut desk, place))
    }

    fn take_hold(self: &Arc<Self>, desk: &mut Desk, place: Place) -> Hold {
        *desk.shares.entry(place.party).or_default() += 1;
        desk.tasks += usize::from(place.kind == Kind::Task);
        self.held.fetch_add(1, Ordering::Relaxed);
        Hold { room: Arc::clone(self), place }
    }

    /// Waits for the turn of a place. `moves` when it is made on another version that
    /// takes this one's place, which is so if `is_superseded`.
    pub(super) async fn wait(
        self: &Arc<Self>,
        place: Place,
        shelf: &Arc<Shelf>,
        moves: bool,
        is_superseded: impl Fn() -> bool,
    ) -> Granted {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Dropped after the receiver, and what that may have been granted.
        let _waiting = Waiting { room: self, place };
        let (sender, receiver) = oneshot::channel();
        {
            let mut desk = self.desk();
            if moves && is_superseded() {
                return Granted::Superseded;
            }
            desk.line.push(place, Waiter { shelf: Arc::clone(shelf), moves, sender });
            self.serve(desk);
        }
        // An error if the line were gone, which this call is in.
        receiver.await.unwrap_or(Granted::Superseded)
    }

    /// An instance is idle now, put where waiting calls look under a lock: one that
    /// looked too early is seen to wait here.
    pub(super) fn returned(self: &Arc<Self>) {
        if self.is_awaited() {
            self.serve(self.desk());
        }
    }

    /// Another version is live: calls that wait go to that one.
    pub(super) fn supersede(self: &Arc<Self>, shelf: &Arc<Shelf>) {
        let mut desk = self.desk();
        let moved = desk.line.extract(|waiter| waiter.moves && Arc::ptr_eq(&waiter.shelf, shelf));
        self.serve(desk);
        for waiter in moved {
            // An error if it has been given up.
            let _ = waiter.sender.send(Granted::Superseded);
        }
    }

    /// Memory was given back.
    pub(super) fn gave_back_memory(self: &Arc<Self>, bytes: usize) {
        self.memory.give_back(bytes);
        self.returned();
    }

    /// Ends an idle instance of any version; false when there is none.
    pub(super) fn end_idle(&self) -> bool {
        let shelves: Vec<_> = self.desk().shelves.iter().filter_map(Weak::upgrade).collect();
        let idle = shelves.iter().find_map(|shelf| shelf.pop());
        // Not under the lock: it gives its seat back.
        idle.is_some()
    }

    /// Gives what there is to those who wait.
    fn serve(self: &Arc<Self>, mut desk: MutexGuard<'_, Desk>) {
        if desk.line.is_empty() {
            return self.awaited.store(false, Ordering::Relaxed);
        }
        // Before anything is looked at: whoever returns something after that is told.
        self.awaited.store(true, Ordering::Relaxed);
        let mut line = std::mem::take(&mut desk.line);
        let (mut is_awaited, mut refused) = (false, Vec::new());
        // Versions that have no idle instance.
        let mut empty: Vec<*const Shelf> = Vec::new();
        line.serve(|place, waiter| {
            if waiter.sender.is_closed() {
                return Offered::Taken;
            }
            let held = self.held.load(Ordering::Relaxed);
            if !desk.may_have(place, self, held) {
                return Offered::Passed(waiter);
            }
            let shelf = Arc::as_ptr(&waiter.shelf);
            let idle = if empty.contains(&shelf) { None } else { waiter.shelf.pop() };
            let granted = match idle {
                Some(taken) => Granted::Instance(taken, self.take_hold(&mut desk, place)),
                None => match self.take_seat(&mut desk) {
                    Some(seat) => Granted::Seat(seat, self.take_hold(&mut desk, place)),
                    None => {
                        is_awaited = true;
                        if !empty.contains(&shelf) {
                            empty.push(shelf);
                        }
                        let all = empty.len() >= desk.shelves.len();
                        return if all { Offered::Over(waiter) } else { Offered::Passed(waiter) };
                    }
                },
            };
            if let Err(granted) = waiter.sender.send(granted) {
                refused.push(granted);
            }
            Offered::Taken
        });
        desk.line = line;
        self.awaited.store(is_awaited, Ordering::Relaxed);
        let lacks_memory = is_awaited && desk.taken < self.max;
        drop(desk);
        drop(refused);
        // What nobody uses gives way. Each that ends comes by here again.
        if lacks_memory && !self.ends_idle.swap(true, Ordering::Relaxed) {
            while self.is_awaited() && !self.memory.has_for_fresh() && self.end_idle() {}
            self.ends_idle.store(false, Ordering::Relaxed);
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn may_have(&self, place: Place, room: &Room, held: usize) -> bool {
        let own = self.shares.get(&place.party).copied().unwrap_or_default();
        let has_share = |left: usize, most: usize, max: usize| {
            own < most && (own == 0 || left > max / FOR_NEWCOMERS)
        };
        let left = room.max.saturating_sub(held);
        let of_tasks = || {
            let left = room.max_tasks.saturating_sub(self.tasks);
            // Of these there are fewer, and one client may want many: two thirds.
            has_share(left, 2 * left, room.max_tasks)
        };
        has_share(left, left, room.max) && (place.kind == Kind::Call || of_tasks())
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("max", &self.max).finish_non_exhaustive()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut desk = self.room.desk();
        desk.line.leave(self.place, |waiter| waiter.sender.is_closed());
        self.room.serve(desk);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.meters.instances.add(-1);
        let mut desk = self.0.desk();
        desk.taken -= 1;
        self.0.serve(desk);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Self { room, place } = self;
        let mut desk = room.desk();
        room.held.fetch_sub(1, Ordering::Relaxed);
        desk.tasks -= usize::from(place.kind == Kind::Task);
        if let Some(share) = desk.shares.get_mut(&place.party) {
            *share -= 1;
            if *share == 0 {
                desk.shares.remove(&place.party);
            }
        }
        room.serve(desk);
    }
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
