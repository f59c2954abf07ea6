//! The calls of a connection that have ended, until their results are applied.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::{Channels, FinishedCall};

/// The bytes that the effects of one connection may have in one turn. The result that goes
/// beyond it is the last one of the turn; the others wait for the next.
const TURN_EFFECT_BYTES: usize = 256 * 1024;

/// The results that wait for the next turn or for the client, and the effects of this turn.
#[derive(Default)]
pub(super) struct Held {
    /// The calls that ended, each with the bytes of its effects.
    calls: VecDeque<(FinishedCall, usize)>,
    /// The sum of those bytes.
    bytes: usize,
    /// Whether so much waits to be written to the client that nothing is to be added.
    is_congested: bool,
    /// The bytes of the effects that were applied in this turn.
    turn_bytes: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The bytes of the effects that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts the bytes of effects that were applied.
    pub(super) fn count_effects(&mut self, bytes: usize) {
        self.turn_bytes += bytes;
    }

    /// Whether no more results are to be applied in this turn.
    fn is_turn_over(&self) -> bool {
        self.is_congested || self.turn_bytes >= TURN_EFFECT_BYTES
    }

    /// Keeps a call that ended until its result can be applied.
    fn put(&mut self, called: FinishedCall) {
        let bytes = called.result.as_ref().map_or(0, |completion| completion.effect_bytes());
        self.bytes += bytes;
        self.calls.push_back((called, bytes));
    }

    /// Takes the oldest of the calls.
    fn take(&mut self) -> Option<FinishedCall> {
        let (called, bytes) = self.calls.pop_front()?;
        self.bytes -= bytes;
        Some(called)
    }
}

impl Channels {
    /// Begins a turn of the connection, which may send as many bytes again.
    pub(in crate::transport) fn begin_turn(&mut self) {
        self.held.turn_bytes = 0;
    }

    /// Applies the results of calls that have ended, unless the client has to read first
    /// (`is_congested`). False when some are left for the next turn: so the broadcasts that one
    /// client causes do not come faster than they are written to the others.
    pub(in crate::transport) fn settle(
        &mut self,
        is_congested: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        self.held.is_congested = is_congested;
        self.take_results(cx);
        while let Poll::Ready(Some(called)) = self.calls.poll_next(cx) {
            self.held.put(called);
        }
        while !self.held.is_turn_over()
            && let Some(called) = self.held.take()
        {
            self.completed(called);
            self.run_actions(cx);
        }
        self.is_settled()
    }

    /// Whether no result waits to be applied.
    pub(in crate::transport) fn is_settled(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a call that ended. Its result is applied at once if there is room in this turn
    /// and no other result waits.
    pub(super) fn ended(&mut self, called: FinishedCall) {
        if self.held.is_empty() && !self.held.is_turn_over() {
            self.completed(called);
        } else {
            self.held.put(called);
        }
    }

    /// Applies all results that wait.
    pub(super) fn apply_held(&mut self, cx: &mut Context<'_>) {
        while let Some(called) = self.held.take() {
            self.completed(called);
            self.run_actions(cx);
        }
    }
}
