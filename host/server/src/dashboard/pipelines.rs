//! How the pipelines stand.

use millrace_pipeline::Pipeline;
use serde::Serialize;

use super::snapshot::Quantiles;

/// One pipeline. Rates are in one second.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PipelineRow {
    pipeline: String,
    /// Of the last stage.
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
    /// The keys with most events in hand, most first, each with its share.
    top_keys: Vec<(String, f64)>,
}

/// Keys of one pipeline.
const MAX_KEYS: usize = 3;

impl PipelineRow {
    /// Of the pipeline of this name.
    pub(super) fn new(pipeline: String) -> Self {
        Self { pipeline, ..Self::default() }
    }

    /// The pipeline's name.
    pub(super) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Takes the rate of a counter.
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

    /// Takes a gauge.
    pub(super) fn level(&mut self, metric: &str, level: f64) {
        match metric {
            "pipeline.buffered" => self.buffered = level,
            "pipeline.in_flight" => self.in_flight = level,
            "pipeline.demand" => self.demand = level,
            "pipeline.dead_letters" => self.dead_letters = level,
            _ => {}
        }
    }

    /// Takes a timing.
    pub(super) fn timing(&mut self, metric: &str, quantiles: Quantiles) {
        match metric {
            "pipeline.wait" => self.wait_ms = quantiles,
            "pipeline.run" => self.run_ms = quantiles,
            "pipeline.delivery" => self.delivery_ms = quantiles,
            _ => {}
        }
    }

    /// Looks at the pipeline itself.
    pub(super) fn look(&mut self, pipeline: &Pipeline) {
        self.dispatcher = pipeline.dispatchers().pop().unwrap_or_default();
        self.top_keys = pipeline.top_keys(MAX_KEYS);
    }
}
