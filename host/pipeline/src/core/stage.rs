//! One stage: a dispatcher and its consumers.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::consumer::{Consumer, ConsumerConfig};
use crate::dispatcher::{Assignment, Dispatcher, Offer, Standby};
use crate::event::{ConsumerId, EventId};

/// The dispatcher and the consumers with which a stage begins.
#[derive(Debug)]
pub(crate) struct StageConfig {
    pub(crate) dispatcher: Box<dyn Dispatcher>,
    pub(crate) consumers: Vec<ConsumerConfig>,
}

/// One stage of a pipeline.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(super) dispatcher: Box<dyn Dispatcher>,
    /// The dispatcher that takes its place if it breaks its contract; `None` for the built-in
    /// `demand`.
    pub(super) standby: Option<Arc<dyn Standby>>,
    pub(super) consumers: Vec<Consumer>,
    /// The events that the dispatcher has not been offered yet. Some of them have gone.
    pub(super) fresh: VecDeque<EventId>,
    /// The next offer, while it is put together.
    pub(super) offer: Offer,
    /// Scratch memory for the dispatcher's answer; empty between two calls.
    pub(super) assigned: Vec<Assignment>,
    /// The number of events that the dispatcher was offered and has not assigned.
    pub(super) offered: usize,
    /// The number of events that its consumers have.
    pub(super) in_flight: usize,
    /// The number of events that its consumers have asked for and were not assigned.
    pub(super) asked: u32,
    /// Whether the dispatcher may assign something since it was last called, as a consumer asked
    /// or an event ended.
    pub(super) has_new_demand: bool,
}

impl Stage {
    pub(super) fn new(dispatcher: Box<dyn Dispatcher>) -> Self {
        Self {
            dispatcher,
            standby: None,
            consumers: Vec::new(),
            fresh: VecDeque::new(),
            offer: Offer::default(),
            assigned: Vec::new(),
            offered: 0,
            in_flight: 0,
            asked: 0,
            has_new_demand: false,
        }
    }

    pub(super) fn add(&mut self, config: ConsumerConfig) -> ConsumerId {
        self.consumers.push(Consumer::new(config));
        ConsumerId(u32::try_from(self.consumers.len() - 1).unwrap_or(u32::MAX))
    }
}
