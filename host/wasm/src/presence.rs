//! Presence, as plugins read it and are told of it.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use millrace_session::channel::{Effect, ServerEffect};
use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, WasmStr};

use super::budget::{Budget, CallKind};
use super::fair_queue::WorkKind;
use super::fuel::{self, of_bytes, pay};
use super::host::State;
use super::instance::Instance;
use super::owner::CallOwner;
use super::withheld::{About, tell};
use super::{Fault, Pool};
use crate::Need;

/// Whoever knows who is present on each topic.
pub trait PresenceReader: Debug + Send + Sync {
    /// Everybody on a topic: `{KEY:{"metas":[…]},…}`.
    fn members(&self, topic: &str) -> ByteString;

    /// One key of a topic: `{"metas":[…]}`; `None` if it is not there.
    fn get(&self, topic: &str, key: &str) -> Option<ByteString>;
}

/// The way of plugins to a [`PresenceReader`], which is there once the server is. Without one,
/// nobody is present anywhere.
#[derive(Clone, Debug, Default)]
pub struct PresenceSource(Arc<OnceLock<Arc<dyn PresenceReader>>>);

impl PresenceSource {
    /// Has plugins read from `reader` from now on. The first reader stays.
    pub fn set(&self, reader: Arc<dyn PresenceReader>) {
        self.0.get_or_init(|| reader);
    }

    pub(super) fn members(&self, topic: &str) -> ByteString {
        let reader = self.0.get();
        reader.map_or_else(|| ByteString::from_static("{}"), |reader| reader.members(topic))
    }

    pub(super) fn get(&self, topic: &str, key: &str) -> Option<ByteString> {
        self.0.get()?.get(topic, key)
    }
}

/// Adds the import `presence`, which version 0.2 has.
pub(super) fn add_to_linker(presence: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    presence.func_wrap_async("members", |mut store: Store<'_>, (topic,): (WasmStr,)| {
        Box::new(async move {
            let topic = topic.to_str(&store)?.into_owned();
            let read = read(&store, &topic, |source| source.members(&topic));
            let bytes = read.as_ref().map_or(0, |members| members.len());
            pay(&mut store, fuel::LOOKUP + of_bytes(topic.len() + bytes)).await?;
            Ok((read.map(|members| members.as_bytes().to_vec()),))
        })
    })?;
    presence.func_wrap_async("get", |mut store: Store<'_>, (topic, key): (WasmStr, WasmStr)| {
        Box::new(async move {
            let topic = topic.to_str(&store)?.into_owned();
            let key = key.to_str(&store)?.into_owned();
            let read = read(&store, &topic, |source| source.get(&topic, &key));
            let found = read.as_ref().ok().and_then(Option::as_ref).map_or(0, |found| found.len());
            pay(&mut store, fuel::LOOKUP + of_bytes(topic.len() + key.len() + found)).await?;
            Ok((read.map(|found| found.map(|found| found.as_bytes().to_vec())),))
        })
    })
}

/// Reads who is present on a topic that the plugin may publish on, its channel's own among them;
/// the error names the grant that is missing.
fn read<T>(
    store: &Store<'_>,
    topic: &str,
    read: impl FnOnce(&PresenceSource) -> T,
) -> Result<T, String> {
    let (settings, current) = (store.data().settings(), store.data().current.as_ref());
    let is_own = current.is_some_and(|current| *current.caller.context.topic == *topic);
    if settings.is_limited && !is_own {
        let need = Need::Publish(topic.to_owned());
        settings.check(&need).map_err(|denied| denied.to_string())?;
    }
    Ok(read(&settings.presences))
}

type Store<'a> = StoreContextMut<'a, State>;

impl Pool {
    /// Tells the plugin who came and who went on a topic: `diff` is the payload of
    /// `presence_diff`. Returns the effects that it asks for.
    ///
    /// # Errors
    ///
    /// The fault of the call, one that took longer than `limits.call_timeout_ms` included.
    pub async fn handle_presence(
        &self,
        topic: &str,
        diff: &str,
    ) -> Result<Vec<ServerEffect>, Fault> {
        let limit = self.component().limits().call_timeout_ms;
        let mut timer = self.timer();
        let claim = self.claim(CallOwner::presence(topic), WorkKind::Call);
        let call = async {
            let mut pooled = self.start(&mut timer, &claim).await?;
            let result = pooled.instance.handle_presence(topic, diff).await;
            self.ended(pooled, &mut timer, &claim.owner, result)
        };
        self.within((limit, "call_timeout_ms"), &claim, pin!(call)).await
    }
}

impl Instance {
    async fn handle_presence(
        &mut self,
        topic: &str,
        diff: &str,
    ) -> Result<Vec<ServerEffect>, Fault> {
        self.refuel(topic.len() + diff.len())?;
        let Some(guest) = &self.presence_handler else { return Ok(Vec::new()) };
        let effects = guest.call_handle_presence(&mut self.store, topic, diff.as_bytes()).await;
        let effects = self.ended(effects)?;
        let mut budget = Budget::new(&self.limits, CallKind::Worker, false);
        let settings = self.store.data().settings();
        let effects = budget.effects(effects, settings)?.into_iter().map(|effect| match effect {
            Effect::Server(effect) => Ok(effect),
            Effect::Channel(_) => {
                Err(Fault::bad_return("handle-presence has no channel".to_owned()))
            }
        });
        let effects = effects.collect::<Result<_, _>>()?;
        tell(&budget.take_withheld(), settings, About::Topic(topic));
        Ok(effects)
    }
}
