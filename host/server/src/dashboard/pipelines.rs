//! The rows of the table of pipelines.

use millrace_pipeline::Pipeline;
use serde::Serialize;

use super::snapshot::Quantiles;

/// The row of one pipeline. Rates are per second.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PipelineRow {
    pipeline: String,
    /// The name of the last stage's dispatcher.
    dispatcher: String,
    accepted: f64,
    rejected: f64,
    done: f64,
    failed: f64,
    dropped: f64,
    retried: f64,
    buffered: f64,
    in_flight: f64,
    demand: f64,
    dead_letters: f64,
    wait_ms: Quantiles,
    run_ms: Quantiles,
    delivery_ms: Quantiles,
    /// The keys with the most events in hand, the largest first, each with its share from 0 to 1.
    top_keys: Vec<(String, f64)>,
}

/// The number of keys that are shown for one pipeline.
const MAX_KEYS: usize = 3;

impl PipelineRow {
    /// The empty row of the pipeline of this name.
    pub(super) fn new(pipeline: String) -> Self {
        Self { pipeline, ..Self::default() }
    }

    /// The pipeline's name.
    pub(super) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Sets the rate of a counter, per second.
    pub(super) fn added(&mut self, metric: &str, rate: f64) {
        match metric {
            "pipeline.accepted" => self.accepted = rate,
            "pipeline.rejected" => self.rejected = rate,
            "pipeline.done" => self.done = rate,
            "pipeline.failed" => self.failed = rate,
            "pipeline.dropped" => self.dropped += rate,
            "pipeline.retried" => self.retried = rate,
            _ => {}
        }
    }

    /// Sets the level of a gauge.
    pub(super) fn level(&mut self, metric: &str, level: f64) {
        match metric {
            "pipeline.buffered" => self.buffered = level,
            "pipeline.in_flight" => self.in_flight = level,
            "pipeline.demand" => self.demand = level,
            "pipeline.dead_letters" => self.dead_letters = level,
            _ => {}
        }
    }

    /// Sets the quantiles of a timing.
    pub(super) fn timing(&mut self, metric: &str, quantiles: Quantiles) {
        match metric {
            "pipeline.wait" => self.wait_ms = quantiles,
            "pipeline.run" => self.run_ms = quantiles,
            "pipeline.delivery" => self.delivery_ms = quantiles,
            _ => {}
        }
    }

    /// Sets what is not in metrics: the dispatcher and the keys.
    pub(super) fn look(&mut self, pipeline: &Pipeline) {
        self.dispatcher = pipeline.dispatchers().pop().unwrap_or_default();
        self.top_keys = pipeline.top_keys(MAX_KEYS);
    }
}
