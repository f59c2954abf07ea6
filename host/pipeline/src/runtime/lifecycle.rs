//! How a pipeline starts, stops taking events, and runs empty.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{EffectSink, Pending, Pipeline};
use crate::event::StageConsumer;

impl Pipeline {
    /// Starts a task for each consumer, which sends what its worker asks for to `sink`. To be
    /// called once: a second call would start a second task for each consumer, and its `sink`
    /// is ignored.
    pub fn start(self: &Arc<Self>, sink: Weak<dyn EffectSink>) {
        let _ = self.sink.set(sink);
        for (stage, handles) in self.stages.iter().enumerate() {
            for id in (0_u32..).take(handles.len()) {
                tokio::spawn(Arc::clone(self).consume(StageConsumer::new(stage, id)));
            }
        }
        if let Some(every) = self.lock().core.renew_every() {
            tokio::spawn(Arc::clone(self).keep_leases(every));
        }
    }

    /// Tells a storage that outlives the server which events are in hand, and takes up those
    /// that nobody has.
    async fn keep_leases(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        let mut pending = Pending::default();
        loop {
            ticks.tick().await;
            self.with_core(&mut pending, |inner, now, _| inner.core.renew_leases(now));
        }
    }

    /// Whether no event is in hand: none waits, and no worker has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().core.is_empty()
    }

    /// Waits until no event is in hand.
    pub async fn emptied(&self) {
        loop {
            let idle = self.idle.notified();
            if self.is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// Refuses events from now on. Those that are in hand are worked on.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.notify_waiters();
    }

    /// Refuses events from now on, and drops those that no worker has started on.
    pub fn abandon(&self) {
        self.with_core(&mut Pending::default(), |inner, now, _| {
            inner.closed = true;
            inner.core.abandon(now);
        });
    }
}
