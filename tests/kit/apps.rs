//! The apps of this repository.

use crate::{App, Gate};

impl App {
    /// `tests/apps/probe`: a channel on `room:*` that does what a client tells it to.
    #[must_use]
    pub fn probe() -> Self {
        Self::written("").plugin("probe", "tests/apps/probe")
    }

    /// The probe, which waits at a gate instead of for a time: `slow_ping` until the test
    /// opens it, whatever the milliseconds.
    #[must_use]
    pub fn gated_probe(gate: &Gate) -> Self {
        Self::written("").plugin("probe", "tests/apps/gated/probe").gate("probe", gate)
    }

    /// The slow app, which waits at a gate instead of for a time.
    #[must_use]
    pub fn gated_slow(gate: &Gate) -> Self {
        Self::written("").plugin("slow", "tests/apps/gated/slow").gate("slow", gate)
    }

    /// The hostile app, which waits at a gate instead of for a time.
    #[must_use]
    pub fn gated_hostile(gate: &Gate) -> Self {
        Self::written("").plugin("hostile", "tests/apps/gated/hostile").gate("hostile", gate)
    }

    /// The jobs: `work_ms` is until the test opens the gate.
    #[must_use]
    pub fn gated_jobs(gate: &Gate) -> Self {
        let dispatchers = ["fair", "isolate", "priority"];
        let jobs = |app: Self, name| app.plugin(name, "tests/apps/jobs");
        let gated = Self::written("").plugin("jobs", "tests/apps/gated/jobs").gate("jobs", gate);
        dispatchers.into_iter().fold(gated, jobs).admin()
    }

    /// The relay, beside the plugins of the jobs: `wait_ms` is until the test opens the gate.
    #[must_use]
    pub fn gated_relay(gate: &Gate) -> Self {
        Self::jobs().plugin("relay", "tests/apps/gated/relay").gate("relay", gate)
    }

    /// The plugin of the probe that waits at a gate, alone.
    #[must_use]
    pub fn gated_probe_plugin() -> Self {
        Self::plugin_of_repository("tests/apps/gated/probe", "probe")
    }

    /// `tests/apps/slow`: every way to be slow on `slow:*`.
    #[must_use]
    pub fn slow() -> Self {
        Self::written("").plugin("slow", "tests/apps/slow")
    }

    /// `tests/apps/hostile`: does what it can to hurt others on `hostile:*`.
    #[must_use]
    pub fn hostile() -> Self {
        Self::written("").plugin("hostile", "tests/apps/hostile")
    }

    /// `tests/apps/fetch`: sends requests as it is told on `fetch:*`.
    #[must_use]
    pub fn fetch() -> Self {
        Self::written("").plugin("fetch", "tests/apps/fetch")
    }

    /// The plugins of `tests/apps/jobs` and an admin interface, for pipelines of a test's
    /// own.
    #[must_use]
    pub fn jobs() -> Self {
        let plugins = ["jobs", "fair", "isolate", "priority"];
        let jobs = |app: Self, name| app.plugin(name, "tests/apps/jobs");
        plugins.into_iter().fold(Self::written(""), jobs).admin()
    }

    /// `tests/apps/relay`, beside the plugins of the jobs: what flows between channels on
    /// `relay:*` and pipelines.
    #[must_use]
    pub fn relay() -> Self {
        Self::jobs().plugin("relay", "tests/apps/relay")
    }

    /// `tests/apps/unfair`, beside the plugins of the jobs: its dispatcher `unfair` breaks
    /// its contract in the way that `wrong` names, after so many calls.
    #[must_use]
    pub fn unfair(wrong: &str, after: u32) -> Self {
        let config = format!("config = {{ wrong = {wrong:?}, after = {after} }}");
        let unfair = Self::jobs().plugin("unfair", "tests/apps/unfair");
        unfair.with(&format!("[plugins.unfair]\n{config}"))
    }

    /// `tests/apps/jobs` as it stands, with its pipeline of jobs that come over HTTP.
    #[must_use]
    pub fn jobs_app() -> Self {
        Self::of_repository("tests/apps/jobs")
    }

    /// `examples/chat`: the chat with its page.
    #[must_use]
    pub fn chat() -> Self {
        Self::of_repository("examples/chat")
    }

    /// `examples/notifications`: a pipeline with its page.
    #[must_use]
    pub fn notifications() -> Self {
        Self::of_repository("examples/notifications")
    }

    /// A plugin that traps as soon as it is instantiated.
    #[must_use]
    pub fn faulty() -> Self {
        Self::of_repository("tests/apps/faulty")
    }

    /// The probe's plugin alone, with every setting at its default.
    #[must_use]
    pub fn probe_plugin() -> Self {
        Self::plugin_of_repository("tests/apps/probe", "probe")
    }

    /// The next version of the probe as a single plugin: `tests/apps/probe-v2`.
    #[must_use]
    pub fn probe_v2_plugin() -> Self {
        Self::plugin_of_repository("tests/apps/probe-v2", "probe")
    }

    /// A version of it that panics on one message in five: `tests/apps/probe-bad`.
    #[must_use]
    pub fn probe_bad_plugin() -> Self {
        Self::plugin_of_repository("tests/apps/probe-bad", "probe")
    }

    /// The plugin of the slow app alone, with every setting at its default.
    #[must_use]
    pub fn slow_plugin() -> Self {
        Self::plugin_of_repository("tests/apps/slow", "slow")
    }

    /// The plugin of `examples/ping` alone: it is on `room:*`, too, and answers
    /// `ping` with `{"ping":"pong"}`.
    #[must_use]
    pub fn ping_plugin() -> Self {
        Self::plugin_of_repository("examples/ping", "ping")
    }
}
