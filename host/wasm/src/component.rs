//! A version of a plugin: compiled, checked and linked, ready to be instantiated.

use std::collections::HashSet;
use std::sync::Arc;

use millrace_telemetry::WasmMeters;
use millrace_wire::TopicPattern;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use wasmtime::component::{Component as Compiled, InstancePre};

use super::bindings::exports::millrace::plugin::presence_handler;
use super::cache::deserialize;
use super::exports::{
    BatchIndices, ChannelIndices, DispatcherIndices, DispatcherStateIndices, MigrationIndices,
    NeedsIndices, OutgoingIndices, SelfTestIndices, SocketIndices, TasksIndices, WorkerIndices,
};
use super::host::State;
use super::instance::Instance;
use super::{Engine, LoadError, PluginLimits, check, denied, initial};
use crate::{Need, Settings};

/// A plugin of which instances can be made.
#[derive(Clone)]
pub struct Component {
    pub(super) engine: Engine,
    pub(super) pre: InstancePre<State>,
    pub(super) exports: Exports,
    pub(super) settings: Arc<Settings>,
    pub(super) limits: PluginLimits,
    /// The SHA-256 of its file, in hexadecimal digits.
    sha256: SmolStr,
    topics: Vec<TopicPattern>,
    pub(super) schemas: Schemas,
    intercepts: Arc<[SmolStr]>,
    needs: Vec<Need>,
}

/// The schemas of the assigns that a plugin reads and writes.
#[derive(Clone, Debug)]
pub(super) enum Schemas {
    /// Any schema: it does not export `migration`.
    Any,
    /// The same schema for all topics.
    One(u32),
    /// A schema for each of its topic patterns, in their order.
    Each(Vec<u32>),
}

/// The interfaces that a component exports.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) channel: Option<ChannelIndices>,
    pub(super) batch: Option<BatchIndices>,
    pub(super) outgoing: Option<OutgoingIndices>,
    pub(super) socket: Option<SocketIndices>,
    pub(super) tasks: Option<TasksIndices>,
    pub(super) worker: Option<WorkerIndices>,
    pub(super) dispatcher: Option<DispatcherIndices>,
    pub(super) dispatcher_state: Option<DispatcherStateIndices>,
    pub(super) migration: Option<MigrationIndices>,
    pub(super) self_test: Option<SelfTestIndices>,
    pub(super) needs: Option<NeedsIndices>,
    pub(super) presence_handler: Option<presence_handler::GuestIndices>,
}

impl Engine {
    /// Makes a component of the bytes of a `.wasm` file: checks it against the interface, compiles
    /// it (or takes it from the cache), and links it. [`Loading::finish`] then asks it for its
    /// topics.
    ///
    /// Compiling blocks for seconds: call it on a thread for that.
    ///
    /// # Errors
    ///
    /// The file is no component for this interface, needs too much memory, or cannot be compiled or
    /// linked.
    pub fn compile(
        &self,
        wasm: &[u8],
        settings: Arc<Settings>,
        limits: PluginLimits,
    ) -> Result<Loading, LoadError> {
        if let Some(cached) = self.cached(wasm, &settings, limits)? {
            return Ok(cached);
        }
        check::check(wasm).map_err(LoadError::Mismatch)?;
        let compiled = Compiled::from_binary(&self.wasmtime, wasm).map_err(LoadError::Compile)?;
        if let (Some(cache), Ok(code)) = (&self.cache, compiled.serialize()) {
            cache.put(wasm, &code);
        }
        self.linked(&compiled, wasm, settings, limits)
    }

    /// Makes a component of compiled code in the cache; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// As those of [`Self::compile`].
    pub fn cached(
        &self,
        wasm: &[u8],
        settings: &Arc<Settings>,
        limits: PluginLimits,
    ) -> Result<Option<Loading>, LoadError> {
        initial::check(wasm, &limits)?;
        let compiled = self.cache.as_ref().and_then(|cache| cache.get(&self.wasmtime, wasm));
        let Some(compiled) = compiled else { return Ok(None) };
        check::check(wasm).map_err(LoadError::Mismatch)?;
        self.linked(&compiled, wasm, Arc::clone(settings), limits).map(Some)
    }

    /// Makes a component of code that another process of this program has checked and compiled.
    ///
    /// # Errors
    ///
    /// The code is not for this engine, or cannot be linked.
    pub fn compiled(
        &self,
        code: &[u8],
        wasm: &[u8],
        settings: Arc<Settings>,
        limits: PluginLimits,
    ) -> Result<Loading, LoadError> {
        let compiled = deserialize(&self.wasmtime, code).map_err(LoadError::Compile)?;
        if let Some(cache) = &self.cache {
            cache.put(wasm, code);
        }
        self.linked(&compiled, wasm, settings, limits)
    }

    fn linked(
        &self,
        compiled: &Compiled,
        wasm: &[u8],
        settings: Arc<Settings>,
        limits: PluginLimits,
    ) -> Result<Loading, LoadError> {
        let linker = denied::linker_for(compiled, &self.wasmtime, &self.linker);
        let linker = linker.map_err(LoadError::Link)?;
        let linker = linker.as_ref().unwrap_or(&self.linker);
        let pre = linker.instantiate_pre(compiled).map_err(LoadError::Link)?;
        let exports = Exports {
            channel: ChannelIndices::of(&pre),
            batch: BatchIndices::of(&pre),
            outgoing: OutgoingIndices::of(&pre),
            socket: SocketIndices::of(&pre),
            tasks: TasksIndices::of(&pre),
            worker: WorkerIndices::of(&pre),
            dispatcher: DispatcherIndices::of(&pre),
            dispatcher_state: DispatcherStateIndices::of(&pre),
            migration: MigrationIndices::of(&pre),
            self_test: SelfTestIndices::of(&pre),
            needs: NeedsIndices::of(&pre),
            presence_handler: presence_handler::GuestIndices::new(&pre).ok(),
        };
        Ok(Loading(Component {
            engine: self.clone(),
            pre,
            exports,
            settings,
            limits,
            sha256: sha256(wasm),
            topics: Vec::new(),
            schemas: Schemas::Any,
            intercepts: Arc::new([]),
            needs: Vec::new(),
        }))
    }
}

/// A linked component that has not been called yet, so its topics are not known.
#[derive(Debug)]
pub struct Loading(Component);

impl Loading {
    /// Asks it for its needs, topics, intercepted events and schemas, which are its first calls.
    ///
    /// # Errors
    ///
    /// One of the calls failed, it needs what it is not granted, or what it says does not fit
    /// together.
    pub async fn finish(self) -> Result<Component, LoadError> {
        let mut component = self.0;
        let mut instance = Instance::new(&component, None).await.map_err(LoadError::FirstCall)?;
        component.needs = instance.needs().await.map_err(LoadError::FirstCall)?;
        let Settings { name, grants, .. } = &*component.settings;
        let granted = grants.check_all(name, &component.needs);
        granted.map_err(LoadError::NotGranted)?;
        let topics = instance.topics().await.map_err(LoadError::FirstCall)?;
        let intercepts = instance.intercepts().await.map_err(LoadError::FirstCall)?;
        if topics.is_empty() && component.exports.channel.is_some() {
            return Err(LoadError::NoTopics);
        }
        component.topics =
            topics.iter().map(|topic| TopicPattern::parse(topic)).collect::<Result<_, _>>()?;
        let mut seen = HashSet::new();
        if let Some(twice) = component.topics.iter().find(|topic| !seen.insert(*topic)) {
            return Err(LoadError::TopicTwice(twice.to_string()));
        }
        component.schemas = match instance.schemas().await.map_err(LoadError::FirstCall)? {
            None => Schemas::Any,
            Some(schemas) if schemas.len() != topics.len() => {
                return Err(LoadError::Schemas { found: schemas.len(), topics: topics.len() });
            }
            Some(schemas) => match schemas.as_slice() {
                [first, rest @ ..] if rest.iter().all(|schema| schema == first) => {
                    Schemas::One(*first)
                }
                _ => Schemas::Each(schemas),
            },
        };
        component.intercepts = intercepts.into_iter().map(SmolStr::from).collect();
        Ok(component)
    }
}

impl Component {
    /// The meters of its calls.
    pub(super) fn meters(&self) -> WasmMeters {
        let Settings { name, metrics, .. } = &*self.settings;
        WasmMeters::new(metrics, name, self.version())
    }

    /// The name of the version: the first eight digits of its SHA-256.
    #[must_use]
    pub fn version(&self) -> &str {
        self.sha256.get(..8).unwrap_or(&self.sha256)
    }

    /// The SHA-256 of its file, in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The topic patterns that it serves, in its own order.
    #[must_use]
    pub fn topics(&self) -> &[TopicPattern] {
        &self.topics
    }

    /// The events whose broadcasts it intercepts (`outgoing.handle-out`).
    #[must_use]
    pub fn intercepts(&self) -> &Arc<[SmolStr]> {
        &self.intercepts
    }

    /// The grants that it says it cannot do without.
    #[must_use]
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// The limits of the plugin.
    #[must_use]
    pub fn limits(&self) -> &PluginLimits {
        &self.limits
    }

    /// The names of the interfaces that it exports.
    #[must_use]
    pub fn exports(&self) -> Vec<&'static str> {
        let Exports { channel, batch, outgoing, socket, tasks, worker, .. } = &self.exports;
        let Exports { dispatcher, dispatcher_state, migration, self_test, needs, .. } =
            &self.exports;
        let Exports { presence_handler, .. } = &self.exports;
        let all = [
            ("channel", channel.is_some()),
            ("batch", batch.is_some()),
            ("outgoing", outgoing.is_some()),
            ("socket", socket.is_some()),
            ("tasks", tasks.is_some()),
            ("migration", migration.is_some()),
            ("self-test", self_test.is_some()),
            ("needs", needs.is_some()),
            ("presence-handler", presence_handler.is_some()),
            ("worker", worker.is_some()),
            ("dispatcher", dispatcher.is_some()),
            ("dispatcher-state", dispatcher_state.is_some()),
        ];
        all.iter().filter(|(_, exported)| *exported).map(|(name, _)| *name).collect()
    }

    /// Whether it exports `batch`, so takes many messages in one call.
    pub(super) fn has_batch(&self) -> bool {
        self.exports.batch.is_some()
    }

    /// Whether it exports `channel`, so serves topics.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.exports.channel.is_some()
    }

    /// Whether it exports `worker`, so works on events of pipelines.
    #[must_use]
    pub fn has_worker(&self) -> bool {
        self.exports.worker.is_some()
    }

    /// Whether it exports `presence-handler`, so is told who comes and goes on its topics.
    #[must_use]
    pub fn has_presence_handler(&self) -> bool {
        self.exports.presence_handler.is_some()
    }

    /// Whether it exports `dispatcher`, so decides which consumer gets which event.
    #[must_use]
    pub fn has_dispatcher(&self) -> bool {
        self.exports.dispatcher.is_some()
    }

    /// Whether it exports `socket`, so decides who may connect.
    #[must_use]
    pub fn has_socket(&self) -> bool {
        self.exports.socket.is_some()
    }
}

/// The SHA-256 of a file in hexadecimal digits.
pub fn sha256(wasm: &[u8]) -> SmolStr {
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("plugin", &self.settings.name)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "shapes_tests.rs"]
mod shapes_tests;
