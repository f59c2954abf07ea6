//! Pipelines: events go from producers, by way of a bounded buffer and a dispatcher, to workers.
//!
//! ```text
//! producer ──▶ buffer ──▶ dispatcher ──▶ consumer ──▶ worker ──▶ effects
//!                 ▲            ▲             │ demand
//!                 └ retries    └─────────────┘
//! ```
//!
//! The model is GenStage's (`lib/gen_stage.ex`). A consumer asks for events, and never has more
//! than it asked for. Events that nobody has asked for yet wait in the buffer. It is bounded: at
//! its bound an event is refused and its producer told, or an event is dropped, as configured.
//!
//! [`core`] is all of that as a state machine. [`runtime`] runs it: a task for each consumer takes
//! a batch, has its worker called, and tells the core how the call ended. The core is behind one
//! lock. Only calls of dispatchers are made under it, those of workers are not.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

mod cloud_event;
mod consumer;
mod core;
mod dead_letters;
mod demand;
mod dispatcher;
mod event;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod ingest;
mod keys;
mod retry;
mod runtime;
mod selector;
mod slots;
mod spec;
mod storage;
mod worker;

pub use crate::core::{Batch, CallEnd, OnFull, Row, Totals};
pub use demand::{DemandError, DemandLimits};
pub use dispatcher::{
    Assignment, Columns, DispatchError, Dispatcher, Offer, Standby, Subscription,
};
pub use event::{ConsumerId, DropReason, EventId, NewEvent, Now, Verdict};
pub use ingest::{Bounds, Format, IngestError};
pub use retry::RetryPolicy;
pub use runtime::{EffectSink, EnqueueError, EnqueueOutcome, NullSink, Pipeline, PipelineError};
pub use selector::Selector;
pub use spec::{BufferSpec, DispatcherSpec, PipelineSpec, Roles, StageSpec, WorkerSpec};
pub use worker::{FinishedJob, Job, Native, StageName, Work, Worker, WorkerCall};
