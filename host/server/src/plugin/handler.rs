//! The handler of the topics of one pattern.

use std::fmt::Debug;
use std::sync::Arc;

use millrace_session::channel::{Callback, Completion};
use millrace_telemetry::{ChannelMeters, Metrics};
use millrace_wire::TopicPattern;
use smol_str::SmolStr;

use super::Plugin;

/// The handler of the topics of one pattern: a plugin, or the server itself.
#[derive(Debug)]
pub(crate) struct Handler {
    pattern: TopicPattern,
    kind: HandlerKind,
    pub(crate) meters: ChannelMeters,
}

/// The kinds of handlers.
#[derive(Clone, Debug)]
pub(crate) enum HandlerKind {
    /// A plugin, whose versions handle the calls.
    Plugin(Arc<Plugin>),
    /// The server itself, which answers at once.
    Native(Arc<dyn NativeChannel>),
}

/// Channels that the server itself serves.
pub(crate) trait NativeChannel: Debug + Send + Sync {
    /// The name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Answers a call at once.
    fn answer(&self, callback: &Callback) -> Completion;
}

impl Handler {
    pub(crate) fn new(pattern: TopicPattern, kind: HandlerKind, metrics: &Metrics) -> Self {
        let meters = ChannelMeters::new(metrics, pattern.to_string());
        Self { pattern, kind, meters }
    }

    /// Whether this is the handler of a plugin for a pattern.
    pub(super) fn is(&self, plugin: &Arc<Plugin>, pattern: &TopicPattern) -> bool {
        self.plugin().is_some_and(|own| Arc::ptr_eq(own, plugin)) && self.pattern == *pattern
    }

    /// The answer, if the server gives it itself; `None` if the plugin has to be called.
    pub(crate) fn answer(&self, callback: &Callback) -> Option<Completion> {
        match &self.kind {
            HandlerKind::Native(native) => Some(native.answer(callback)),
            #[cfg(feature = "bench-native")]
            HandlerKind::Plugin(_) => native(callback),
            #[cfg(not(feature = "bench-native"))]
            HandlerKind::Plugin(_) => None,
        }
    }

    /// The plugin; `None` if the server itself handles the topics.
    #[must_use]
    pub(crate) fn plugin(&self) -> Option<&Arc<Plugin>> {
        match &self.kind {
            HandlerKind::Plugin(plugin) => Some(plugin),
            HandlerKind::Native(_) => None,
        }
    }

    /// The name of the plugin, or of the server's own channel.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        match &self.kind {
            HandlerKind::Plugin(plugin) => plugin.name(),
            HandlerKind::Native(native) => native.name(),
        }
    }

    /// The events whose broadcasts it intercepts.
    pub(crate) fn intercepts(&self) -> Arc<[SmolStr]> {
        let none = || Arc::new([]) as Arc<[SmolStr]>;
        self.plugin().map_or_else(none, |p| Arc::clone(p.live().component().intercepts()))
    }
}

/// The answer of the probe app to `ping`, compiled into the host.
#[cfg(feature = "bench-native")]
fn native(callback: &Callback) -> Option<Completion> {
    use millrace_session::channel::{ChannelEffect, Outcome};
    let Callback::HandleIn { event, payload, .. } = callback else { return None };
    (event == "ping").then(|| {
        let payload = payload.clone();
        let effect = ChannelEffect::Reply { status: "ok".into(), payload }.into();
        Completion::Handled(Outcome { effects: vec![effect], assigns: None })
    })
}
