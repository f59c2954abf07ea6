//! A pipeline for tests of the runtime.

use std::time::Duration;

use millrace_telemetry::Metrics;

use super::Pipeline;
use crate::{BufferSpec, DispatcherSpec, OnFull, PipelineSpec, RetryPolicy, StageSpec};

impl BufferSpec {
    /// A buffer of `size` events of at most 100 bytes each, without any other bound.
    pub(super) fn of_test(size: usize, on_full: OnFull) -> Self {
        Self { size, max_bytes: usize::MAX, max_event_bytes: 100, max_per_key: 0, on_full }
    }
}

impl Pipeline {
    /// A pipeline of one stage without consumers: what is accepted stays in the buffer.
    pub(super) fn of_test(buffer: BufferSpec) -> Self {
        let retry =
            RetryPolicy { max_attempts: 1, backoff: Duration::ZERO, max_backoff: Duration::ZERO };
        let spec = PipelineSpec {
            name: "jobs".to_owned(),
            buffer,
            retry,
            partition_by: None,
            deadline: None,
            ordered: false,
            rate_per_second: None,
            dead_letters: 0,
            keep_dropped: false,
            stages: vec![StageSpec { dispatcher: DispatcherSpec::Demand, workers: Vec::new() }],
        };
        Self::new(spec, 1, &Metrics::none()).unwrap()
    }
}
