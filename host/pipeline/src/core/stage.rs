//! One stage: a dispatcher and its consumers.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::consumer::{Consumer, ConsumerConfig};
use crate::dispatcher::{Assignment, Dispatcher, Offer, Standby};
use crate::event::{ConsumerId, EventId};

/// What a stage begins with.
#[derive(Debug)]
pub(crate) struct StageConfig {
    pub(crate) dispatcher: Box<dyn Dispatcher>,
    pub(crate) consumers: Vec<ConsumerConfig>,
}

/// One stage.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(super) dispatcher: Box<dyn Dispatcher>,
    /// What takes its place if it breaks, before the built-in one.
    pub(super) standby: Option<Arc<dyn Standby>>,
    pub(super) consumers: Vec<Consumer>,
    /// What the dispatcher has not been told of yet.
    pub(super) fresh: VecDeque<EventId>,
    /// What it is told next besides.
    pub(super) offer: Offer,
    /// Empty: an allocation to use again.
    pub(super) assigned: Vec<Assignment>,
    /// Events it has been told of and has not assigned.
    pub(super) offered: usize,
    /// Events its consumers have.
    pub(super) in_flight: usize,
    /// What its consumers have asked for and were not assigned.
    pub(super) asked: u32,
    /// Whether somebody asked since it was last dispatched.
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
