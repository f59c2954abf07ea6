//! The calls of a connection that have ended, and when what they came to is applied.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::{Channels, FinishedCall};

/// What results of one connection may ask to be sent in one turn, in bytes; the one that
/// goes past it is the last.
const TURN_EFFECT_BYTES: usize = 256 * 1024;

/// Results that wait for the next turn or for the client, and what this turn has had.
#[derive(Default)]
pub(super) struct Held {
    /// Each with what it asks to be sent, in bytes.
    calls: VecDeque<(FinishedCall, usize)>,
    /// The sum of these.
    bytes: usize,
    /// So much waits for the client that nothing more is to be said to it.
    is_congested: bool,
    /// What results asked to be sent in this turn, in bytes.
    turn_bytes: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// What those that wait ask to be sent, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A result that was applied asked for so many bytes to be sent.
    pub(super) fn asked(&mut self, bytes: usize) {
        self.turn_bytes += bytes;
    }

    /// Whether there is no more room in this turn.
    fn is_over(&self) -> bool {
        self.is_congested || self.turn_bytes >= TURN_EFFECT_BYTES
    }

    fn put(&mut self, called: FinishedCall) {
        let bytes = called.result.as_ref().map_or(0, |completion| completion.effect_bytes());
        self.bytes += bytes;
        self.calls.push_back((called, bytes));
    }

    fn take(&mut self) -> Option<FinishedCall> {
        let (called, bytes) = self.calls.pop_front()?;
        self.bytes -= bytes;
        Some(called)
    }
}

impl Channels {
    /// Another turn begins.
    pub(in crate::transport) fn begin_turn(&mut self) {
        self.held.turn_bytes = 0;
    }

    /// Goes on with the calls that have ended, unless the client has to read first. False
    /// when some are left for the next turn: what one client's messages send to others
    /// does not go to them faster than they are written to.
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
        while !self.held.is_over()
            && let Some(called) = self.held.take()
        {
            self.completed(called);
            self.run_actions(cx);
        }
        self.is_settled()
    }

    /// Whether no result waits.
    pub(in crate::transport) fn is_settled(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a call that ended: at once if there is room in this turn and nothing is
    /// before it.
    pub(super) fn ended(&mut self, called: FinishedCall) {
        if self.held.is_empty() && !self.held.is_over() {
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
