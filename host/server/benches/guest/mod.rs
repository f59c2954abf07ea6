//! A plugin and calls of it, without a server: for benches and for counting
//! instructions.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use millrace::bench::{App, Plugin};
use millrace_session::channel::{
    Assigns, Callback, Caller, Completion, Context, Effect, Progress, ReplyTo,
};
use millrace_telemetry::Metrics;
use millrace_wasm::{CallContext, Engine, EngineLimits, Fault, Settings};
use millrace_wire::Payload;

/// The probe's channel, called as a connection calls it.
#[derive(Debug)]
pub(crate) struct Guest {
    plugin: Plugin,
    caller: Caller,
    assigns: Assigns,
}

#[derive(Debug)]
struct NoProgress;

impl Progress for NoProgress {
    fn flush(
        self: Arc<Self>,
        _: Caller,
        _: Vec<Effect>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }

    fn server(&self) -> u64 {
        1
    }
}

impl Guest {
    /// Loads the probe; `millrace build tests/apps/probe` has to come first.
    /// `cache` takes its compiled code from the disk.
    pub(crate) async fn probe(cache: bool) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/apps/probe");
        Self::of(&folder, "room:a", r#"{"count":0}"#, cache).await
    }

    /// Loads the first plugin of an app that has been built. It is called for a channel of
    /// this topic, with these assigns.
    pub(crate) async fn of(folder: &Path, topic: &str, assigns: &str, cache: bool) -> Self {
        let app = App::load(folder).unwrap();
        let config = &app.plugins[0];
        let wasm = std::fs::read(config.source.component()).expect("millrace build of the app");
        let (max_memory_bytes, max_stack_bytes) = (64 << 20, 192 << 10);
        let limits = EngineLimits { max_instances: 16, max_memory_bytes, max_stack_bytes };
        let engine = Engine::new(limits, cache.then_some(&app.cache)).unwrap();
        let (http, metrics) = (Default::default(), Metrics::none());
        let settings = Settings::new(config.name.clone(), Default::default(), http, metrics);
        let loading = engine.compile(&wasm, Arc::new(settings), config.limits).unwrap();
        let plugin = Plugin::new(config.name.clone(), loading.finish().await.unwrap());
        let context = Arc::new(Context {
            connection: 1,
            channel: 1,
            topic: topic.into(),
            join_ref: None,
            sent_join_ref: None,
            join_message_ref: None,
            user_id: None,
        });
        let caller = Caller { context, reply_to: Some(ReplyTo::default()), number: 1 };
        let assigns = Assigns { schema: 0, data: assigns.to_owned().into() };
        Self { plugin, caller, assigns }
    }

    /// Makes one call, whose effects go to `progress` when they are flushed.
    pub(crate) async fn call(
        &self,
        progress: Arc<dyn Progress>,
        callback: &Callback,
    ) -> Result<Completion, Fault> {
        let context = CallContext { caller: self.caller.clone(), progress };
        let (completion, _) = self.plugin.live().call(context, &self.assigns, callback).await;
        completion
    }

    /// Sends `ping`, and takes the reply.
    pub(crate) async fn ping(&self, payload: &Payload) {
        let callback = Callback::HandleIn {
            event: "ping".into(),
            payload: payload.clone(),
            wants_reply: true,
        };
        match self.call(Arc::new(NoProgress), &callback).await.unwrap() {
            Completion::Handled(outcome) => assert_eq!(outcome.effects.len(), 1),
            Completion::Join(_) => panic!("a reply was expected"),
        }
    }

    /// Sends `ping` so often, to be handled in one call; after a first
    /// [`Self::ping`].
    pub(crate) async fn pings(&self, payload: &Payload, messages: usize) {
        let context = CallContext { caller: self.caller.clone(), progress: Arc::new(NoProgress) };
        let replies =
            millrace::bench::together(&self.plugin, &context, &self.assigns, payload, messages);
        assert_eq!(replies.await, Some(messages));
    }
}

/// JSON of about so many bytes.
pub(crate) fn json(bytes: usize) -> Payload {
    Payload::Json(format!(r#"{{"body":"{}"}}"#, "x".repeat(bytes.saturating_sub(11))).into())
}
