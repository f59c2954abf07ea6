//! Testing pipelines: real components, and no waiting.
//!
//! ```no_run
//! use millrace::testing::TestApp;
//! use serde_json::json;
//!
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! // #[tokio::test(start_paused = true)]: time passes when nothing else happens.
//! let app = TestApp::load("examples/notifications".as_ref()).await?;
//! let pipeline = app.pipeline("notifications")?;
//! pipeline.push([json!({ "user": "ada", "text": "hello" })]);
//! pipeline.settle().await;
//! assert_eq!(pipeline.totals().done, 1);
//! assert_eq!(pipeline.broadcasts()[0].topic, "user:ada");
//! # Ok(())
//! # }
//! ```
//!
//! The plugins are those that `millrace build` has built, with the app's own configuration. The
//! effects of workers are recorded, not carried out. In a paused tokio runtime, retries, batch
//! timeouts, rates and a plugin's own `sleep` take no time, and `tokio::time::Instant` tells how
//! long they would have taken. (That needs tokio's feature `test-util`. The wall clock that plugins
//! read is not paused.)

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use millrace_pipeline::{EffectSink, Pipeline, Roles};
pub use millrace_pipeline::{NewEvent, PipelineError, Totals};
pub use millrace_session::channel::{ServerEffect, SocketRef};
use millrace_telemetry::{Metrics, Origin, unix_ms};
pub use millrace_wasm::Fault;
pub use millrace_wire::Payload;
use serde_json::Value;

use crate::config::App;
pub use crate::config::ConfigError;
use crate::loader::Loader;
pub use crate::node::StartError;
use crate::plugin::{FaultSink, Plugin};

/// An app whose plugins are loaded, without a server.
#[derive(Debug)]
pub struct TestApp {
    app: App,
    plugins: Vec<Arc<Plugin>>,
}

/// The reason why an app or pipeline cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The app cannot be found, or its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A plugin cannot be loaded.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The dispatcher of a pipeline does not start.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The pipeline does not exist, or something that it needs is missing: its name, and the
    /// problem.
    #[error("pipelines.{0}{1}")]
    Spec(String, String),
}

/// A running pipeline, and a record of its workers' effects.
#[derive(Debug)]
pub struct TestPipeline {
    pipeline: Arc<Pipeline>,
    plugins: Vec<Arc<Plugin>>,
    notes: Arc<Notes>,
    /// The number of events that were pushed by [`TestPipeline::ask`].
    asked: AtomicU64,
}

/// A broadcast of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct TestBroadcast {
    /// The topic of the broadcast.
    pub topic: String,
    /// The event of the broadcast.
    pub event: String,
    /// The payload; a string if it is not JSON.
    pub payload: Value,
}

#[derive(Debug, Default)]
struct Notes {
    effects: Mutex<Vec<ServerEffect>>,
    replies: Mutex<Vec<(SocketRef, String, Payload)>>,
    faults: Mutex<Vec<Fault>>,
}

impl TestApp {
    /// Loads the app at `path`, as `millrace serve` does.
    ///
    /// # Errors
    ///
    /// The configuration is wrong, or a plugin is missing or cannot be loaded.
    pub async fn load(path: &Path) -> Result<Self, TestError> {
        let app = App::load(path)?;
        let loader = Loader::new(&app)?;
        let mut plugins = Vec::new();
        for plugin in &app.plugins {
            let component = loader.load(plugin).await?;
            plugins.push(Arc::new(Plugin::new(plugin.name.clone(), component)));
        }
        Ok(Self { app, plugins })
    }

    /// Starts a pipeline of the app.
    ///
    /// # Errors
    ///
    /// There is no such pipeline, or a plugin cannot have the role that it needs.
    pub fn pipeline(&self, name: &str) -> Result<TestPipeline, TestError> {
        let failed = |problem| TestError::Spec(name.to_owned(), problem);
        let config = self.app.pipelines.get(name);
        let config = config.ok_or_else(|| failed(": there is none of this name".to_owned()))?;
        let notes = Arc::<Notes>::default();
        let spec = config.spec(name, &|plugin| find(&self.plugins, plugin, &notes));
        let spec = spec.map_err(failed)?;
        for worker in spec.stages.iter().flat_map(|stage| &stage.workers) {
            worker.worker.check().map_err(failed)?;
        }
        let pipeline = Arc::new(Pipeline::new(spec, 1, &Metrics::none())?);
        pipeline.start(Arc::downgrade(&notes) as Weak<dyn EffectSink>);
        let (plugins, asked) = (self.plugins.clone(), AtomicU64::new(0));
        Ok(TestPipeline { pipeline, plugins, notes, asked })
    }
}

impl TestPipeline {
    /// Pushes events, and returns how many of them the pipeline has taken.
    pub fn push(&self, events: impl IntoIterator<Item = Value>) -> usize {
        self.push_events(events.into_iter().map(|json| event(&json)))
    }

    /// [`Self::push`] for events with keys and priorities. Events whose time is 0 get the current
    /// time.
    pub fn push_events(&self, events: impl IntoIterator<Item = NewEvent>) -> usize {
        let stamped = |event: NewEvent| match event.enqueued_unix_ms {
            0 => NewEvent { enqueued_unix_ms: unix_ms(), ..event },
            _ => event,
        };
        self.pipeline.enqueue(events.into_iter().map(stamped).collect()).accepted
    }

    /// Pushes an event that a client waits for, as a channel does with `NewEvent::answers`,
    /// settles, and returns the reply: its status and response. `None` when there is none.
    pub async fn ask(&self, json: Value) -> Option<(String, Value)> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let socket_ref = SocketRef::of_test(number, "test")?;
        let reply_to = Some(Box::new(socket_ref.clone()));
        self.push_events([NewEvent { reply_to, ..event(&json) }]);
        self.settle().await;
        let answer = self.replies().into_iter().find(|(to, ..)| *to == socket_ref);
        answer.map(|(_, status, response)| (status, response))
    }

    /// Lets time pass, which takes none in a paused runtime.
    pub async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Switches the dispatcher of the last stage, as an operator can.
    ///
    /// # Errors
    ///
    /// There is no such dispatcher, or it does not start.
    pub fn switch_dispatcher(&self, name: &str) -> Result<(), TestError> {
        let failed = |problem| TestError::Spec(self.pipeline.name().to_owned(), problem);
        let spec = crate::config::dispatcher(Some(name), &|plugin| {
            find(&self.plugins, plugin, &self.notes)
        });
        let last = self.dispatchers().len().saturating_sub(1);
        Ok(self.pipeline.switch_dispatcher(last, spec.map_err(failed)?)?)
    }

    /// The names of the stages' dispatchers. A plugin's dispatcher that breaks its contract is
    /// replaced by a built-in one.
    #[must_use]
    pub fn dispatchers(&self) -> Vec<String> {
        self.pipeline.dispatchers()
    }

    /// Waits until every event is done, dropped or given up.
    pub async fn settle(&self) {
        self.pipeline.emptied().await;
    }

    /// The counts of what has happened to events.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.pipeline.totals()
    }

    /// The dead letters: the reason why each event was given up, and its payload.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<(String, Value)> {
        let letters = self.pipeline.dead_letters();
        let all = letters.list(0, usize::MAX).into_iter();
        all.map(|letter| (letter.reason.to_owned(), value(letter.payload.as_bytes()))).collect()
    }

    /// The broadcasts of workers, in order.
    #[must_use]
    pub fn broadcasts(&self) -> Vec<TestBroadcast> {
        let broadcast = |effect: ServerEffect| match effect {
            ServerEffect::Broadcast { broadcast, .. } => {
                let (topic, event) = (broadcast.topic.to_string(), broadcast.event.to_string());
                Some(TestBroadcast { topic, event, payload: payload_value(&broadcast.payload) })
            }
            _ => None,
        };
        self.effects().into_iter().filter_map(broadcast).collect()
    }

    /// The events that workers have handed to other pipelines, with the names of these, in order.
    #[must_use]
    pub fn enqueued(&self) -> Vec<(String, NewEvent)> {
        let enqueued = |effect: ServerEffect| match effect {
            ServerEffect::Enqueue { pipeline, event } => Some((pipeline, event)),
            _ => None,
        };
        self.effects().into_iter().filter_map(enqueued).collect()
    }

    /// All effects of workers, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<ServerEffect> {
        locked(&self.notes.effects).clone()
    }

    /// The replies to those who wait for events: for each a status and a response.
    #[must_use]
    pub fn replies(&self) -> Vec<(SocketRef, String, Value)> {
        let replies = locked(&self.notes.replies).clone().into_iter();
        replies.map(|(to, status, payload)| (to, status, payload_value(&payload))).collect()
    }

    /// The calls of workers that have failed.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        locked(&self.notes.faults).clone()
    }
}

impl EffectSink for Notes {
    fn apply(&self, effects: Vec<ServerEffect>, _: Option<Arc<Origin>>) {
        locked(&self.effects).extend(effects);
    }

    fn reply(&self, to: SocketRef, status: String, payload: Payload) {
        locked(&self.replies).push((to, status, payload));
    }

    fn refused(&self, _: &Pipeline, _: NewEvent) {}
}

impl FaultSink for Notes {
    fn worker_faulted(&self, fault: &Fault, _: &str, _: &str) {
        locked(&self.faults).push(fault.clone());
    }
}

fn find(plugins: &[Arc<Plugin>], wanted: &str, notes: &Arc<Notes>) -> Option<Roles> {
    let plugin = plugins.iter().find(|plugin| plugin.name() == wanted)?;
    let faults = Arc::downgrade(notes) as Weak<dyn FaultSink>;
    Some(Arc::clone(plugin).roles(faults))
}

fn event(json: &Value) -> NewEvent {
    NewEvent { payload: Bytes::from(json.to_string()), ..NewEvent::default() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn payload_value(payload: &Payload) -> Value {
    match payload {
        Payload::Json(text) => value(text.as_bytes()),
        Payload::Binary(bytes) => value(bytes),
    }
}

fn value(bytes: &[u8]) -> Value {
    let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
    serde_json::from_slice(bytes).unwrap_or_else(|_| text())
}
