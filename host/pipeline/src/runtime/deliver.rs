//! Calls of the core under the lock, and what the core wants done after each.

use std::sync::{Arc, Weak};

use tracing::{debug, error, warn};

use super::{EffectSink, Inner, Pipeline};
use crate::core::{Core, Output};
use crate::event::{NewEvent, Now, StageConsumer};

/// What the core wants done once the lock is released. Its vectors are empty between two calls
/// of [`Pipeline::with_core`] and keep their memory: who calls often uses one again.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Consumers that may be able to start a call.
    woken: Vec<StageConsumer>,
    /// The consumer that is not woken, as it looks for events by itself.
    pub(super) own: Option<StageConsumer>,
    outputs: Vec<Output>,
    /// Events of [`Pipeline::post`] for which there was no room.
    pub(super) refused: Vec<NewEvent>,
    has_room: bool,
    is_empty: bool,
}

impl Pending {
    /// Takes over what the core wants done.
    pub(super) fn collect(&mut self, core: &mut Core) {
        core.take_woken(&mut self.woken);
        core.take_outputs(&mut self.outputs);
        self.has_room = core.has_wanted_room();
        self.is_empty = core.is_empty();
    }
}

impl Pipeline {
    /// Calls `call` under the lock with the time, and then does without the lock what the core
    /// wants done. `pending` is scratch memory.
    pub(super) fn with_core<R>(
        &self,
        pending: &mut Pending,
        call: impl FnOnce(&mut Inner, Now, &mut Pending) -> R,
    ) -> R {
        let result = {
            let mut inner = self.lock();
            let result = call(&mut inner, self.now(), pending);
            pending.collect(&mut inner.core);
            result
        };
        self.deliver(pending);
        result
    }

    /// Wakes consumers and producers that can go on, and passes on what came of events. Not to
    /// be called under the lock.
    pub(super) fn deliver(&self, pending: &mut Pending) {
        let own = pending.own.take();
        for consumer in pending.woken.drain(..) {
            if own != Some(consumer)
                && let Some(handle) = self.handle(consumer)
            {
                handle.woken.notify_one();
            }
        }
        if pending.has_room {
            self.room.notify_waiters();
        }
        if pending.is_empty {
            self.idle.notify_waiters();
        }
        for output in pending.outputs.drain(..) {
            self.deliver_one(output);
        }
        if !pending.refused.is_empty()
            && let Some(sink) = self.sink()
        {
            pending.refused.drain(..).for_each(|event| sink.refused(self, event));
        }
    }

    fn deliver_one(&self, output: Output) {
        let pipeline = &*self.name;
        match output {
            Output::Dead(dead) => {
                if let Some(line) = self.given_up_log.pass() {
                    warn!(
                        pipeline,
                        key = dead.key.as_deref(),
                        attempts = dead.attempts,
                        reason = dead.reason,
                        left_out = line.left_out(),
                        "an event was given up"
                    );
                }
                self.dead_letters().push(dead);
            }
            Output::Reply { to, status, payload } => {
                if let Some(sink) = self.sink() {
                    sink.reply(*to, status, payload);
                }
            }
            Output::Dropped { key, reason } => {
                debug!(pipeline, key = key.as_deref(), %reason, "an event was dropped");
            }
            Output::Replaced { stage, dispatcher, why } => {
                self.meters.replaced.add(1);
                error!(pipeline, stage, dispatcher, "the dispatcher was replaced: {why}");
            }
        }
    }

    /// The server, from [`Pipeline::start`] until it is dropped.
    pub(super) fn sink(&self) -> Option<Arc<dyn EffectSink>> {
        self.sink.get().and_then(Weak::upgrade)
    }
}
