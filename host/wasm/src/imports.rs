//! The imports of plugins, by interface: log, metrics, config, clock, random, http, grants and the
//! plugin's own call. Each has a price ([`fuel`]), and reads no more than it keeps.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_session::channel::SocketRef;
use millrace_telemetry::Measurement;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, WasmStr};

use super::bindings::TRACKS;
use super::bindings::millrace::plugin::{grants, http, log, types};
use super::bindings::v0_1::types as types_0_1;
use super::fuel::{self, of_bytes, pay};
use super::host::State;
use super::presence::add_to_linker as add_presence;
use super::uptime::Uptime;
use crate::Need;

/// The most random bytes that one call of `random.bytes` returns.
const MAX_RANDOM_BYTES: u32 = 4096;

/// Adds them to `linker`, for each track of the interface.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for track in TRACKS {
        let mut add = |interface: &str, add: Add| {
            add(&mut linker.instance(&format!("millrace:plugin/{interface}@{track}"))?)
        };
        add("log", add_log)?;
        add("metrics", add_metrics)?;
        add("config", add_config)?;
        add("clock", add_clock)?;
        add("random", add_random)?;
        add("http", add_http)?;
        add("grants", add_grants)?;
        add("call", add_call)?;
    }
    add_claims(&mut linker.instance("millrace:plugin/call@0.2.0")?)?;
    add_presence(&mut linker.instance("millrace:plugin/presence@0.2.0")?)?;
    let mut call =
        |track, flush: Add| flush(&mut linker.instance(&format!("millrace:plugin/call@{track}"))?);
    call("0.2.0", add_flush::<types::Effect>)?;
    call("0.1.0", add_flush::<types_0_1::Effect>)
}

/// Adds the functions of one interface.
type Add = fn(&mut LinkerInstance<'_, State>) -> wasmtime::Result<()>;

type Store<'a> = StoreContextMut<'a, State>;

fn add_log(log: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    log.func_wrap_async("log", |mut store: Store<'_>, (level, message): (log::Level, WasmStr)| {
        Box::new(async move {
            if !store.data_mut().takes_line() {
                // The line is left out, so it is not read.
                return pay(&mut store, fuel::CALL).await;
            }
            let text = message.to_str(&store)?;
            store.data().log(level, &text);
            let price = fuel::LINE + of_bytes(text.len());
            drop(text);
            pay(&mut store, price).await
        })
    })
}

fn add_metrics(metrics: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    add_measurement(metrics, "count", Measurement::Count)?;
    add_measurement(metrics, "gauge", Measurement::Gauge)?;
    add_measurement(metrics, "timing", Measurement::TimingMs)?;
    add_measurement(metrics, "histogram", Measurement::Histogram)?;
    metrics.func_wrap_async("set", |mut store: Store<'_>, (name, value): (WasmStr, WasmStr)| {
        Box::new(async move {
            let value = read(&value, &mut store).await?;
            let Some(value) = value else { return pay(&mut store, fuel::CALL).await };
            if let Some(name) = read(&name, &mut store).await? {
                store.data_mut().measured.take_set(&name, &value);
            }
            pay(&mut store, fuel::MEASUREMENT).await
        })
    })
}

fn add_measurement<T>(
    metrics: &mut LinkerInstance<'_, State>,
    kind: &str,
    measurement: fn(T) -> Measurement,
) -> wasmtime::Result<()>
where
    T: ComponentType + Lift + Send + Sync + 'static,
{
    metrics.func_wrap_async(kind, move |mut store: Store<'_>, (name, value): (WasmStr, T)| {
        Box::new(async move {
            match read(&name, &mut store).await? {
                Some(name) => store.data_mut().measured.take(&name, measurement(value)),
                None => return pay(&mut store, fuel::CALL).await,
            }
            pay(&mut store, fuel::MEASUREMENT).await
        })
    })
}

/// Reads the name or the value of a measurement; `None` if the call has made as many measurements
/// as it may.
async fn read(text: &WasmStr, store: &mut Store<'_>) -> wasmtime::Result<Option<String>> {
    if !store.data_mut().measured.has_room() {
        return Ok(None);
    }
    let text = text.to_str(&*store)?;
    let (price, kept) = (of_bytes(text.len()), super::host::cut(&text, MAX_NAME_BYTES).to_owned());
    drop(text);
    pay(store, price).await?;
    Ok(Some(kept))
}

/// The bytes after which the name of a measurement is cut.
const MAX_NAME_BYTES: usize = 255;

fn add_config(config: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    config.func_wrap_async("get", |mut store: Store<'_>, (key,): (WasmStr,)| {
        Box::new(async move {
            let key = key.to_str(&store)?;
            let found = store.data().settings().config.get(&*key).map(|value| value.load_full());
            let bytes = key.len() + found.as_ref().map_or(0, |found| found.len());
            drop(key);
            pay(&mut store, fuel::LOOKUP + of_bytes(bytes)).await?;
            Ok((found.map(Arc::unwrap_or_clone),))
        })
    })
}

fn add_clock(clock: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    clock.func_wrap_async("now-ms", |mut store: Store<'_>, (): ()| {
        Box::new(async move {
            pay(&mut store, fuel::CALL).await?;
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok((u64::try_from(since.as_millis()).unwrap_or(u64::MAX),))
        })
    })?;
    clock.func_wrap_async("monotonic-ns", |mut store: Store<'_>, (): ()| {
        Box::new(async move {
            pay(&mut store, fuel::CALL).await?;
            Ok((Uptime::nanos(),))
        })
    })?;
    clock.func_wrap_async("sleep-ms", |mut store: Store<'_>, (ms,): (u64,)| {
        Box::new(async move {
            pay(&mut store, fuel::CALL).await?;
            // A timer of 0 ms would suspend the call until the timers' next turn.
            if ms > 0 {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                fuel::waited(&mut store)?;
            }
            Ok(())
        })
    })
}

fn add_random(random: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    random.func_wrap_async("bytes", |mut store: Store<'_>, (len,): (u32,)| {
        Box::new(async move {
            let len = len.min(MAX_RANDOM_BYTES);
            pay(&mut store, fuel::RANDOM + fuel::RANDOM_BYTE * u64::from(len)).await?;
            let mut bytes = vec![0; len as usize];
            // Without random bytes a token would be guessable: better no call.
            getrandom::fill(&mut bytes)
                .map_err(|error| wasmtime::format_err!("no random bytes: {error}"))?;
            Ok((bytes,))
        })
    })
}

fn add_http(http: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    http.func_wrap_async("send", |mut store: Store<'_>, (request,): (http::Request,)| {
        Box::new(async move {
            let headers: usize = request.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
            let bytes = request.url.len() + request.body.len() + headers;
            pay(&mut store, fuel::REQUEST + of_bytes(bytes)).await?;
            let answer = store.data_mut().send(request).await;
            fuel::waited(&mut store)?;
            if let Ok(response) = &answer {
                let headers: usize = response.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
                pay(&mut store, of_bytes(response.body.len() + headers)).await?;
            }
            Ok((answer,))
        })
    })
}

fn add_grants(grants: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    grants.func_wrap_async("are-limited", |mut store: Store<'_>, (): ()| {
        Box::new(async move {
            pay(&mut store, fuel::CALL).await?;
            Ok((store.data().settings().is_limited,))
        })
    })?;
    grants.func_wrap_async("check", |mut store: Store<'_>, (need,): (grants::Need,)| {
        Box::new(async move {
            let need = Need::from(need);
            pay(&mut store, fuel::LOOKUP + of_bytes(need.name().len())).await?;
            let checked = store.data().settings().check(&need);
            Ok((checked.map_err(|denied| denied.to_string()),))
        })
    })
}

impl From<grants::Need> for Need {
    fn from(need: grants::Need) -> Self {
        match need {
            grants::Need::Publish(topic) => Self::Publish(topic),
            grants::Need::Enqueue(pipeline) => Self::Enqueue(pipeline),
        }
    }
}

fn add_call(call: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    call.func_wrap_async("socket-ref", |mut store: Store<'_>, (): ()| {
        Box::new(async move {
            pay(&mut store, fuel::SEAL).await?;
            Ok((store.data().socket_ref(),))
        })
    })
}

/// Adds `call.claims`, which version 0.2 has.
fn add_claims(call: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    call.func_wrap_async("claims", |mut store: Store<'_>, (): ()| {
        Box::new(async move {
            let current = store.data().current.as_ref();
            let claims = current.and_then(|current| current.progress.claims());
            let bytes = claims.as_ref().map_or(0, |claims| claims.len());
            pay(&mut store, fuel::LOOKUP + of_bytes(bytes)).await?;
            Ok((claims.map(|claims| claims.as_bytes().to_vec()),))
        })
    })
}

/// Adds `call.flush` for the effects of one track.
fn add_flush<E>(call: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()>
where
    E: ComponentType + Lift + Into<types::Effect> + Send + Sync + 'static,
{
    call.func_wrap_async("flush", |mut store: Store<'_>, (effects,): (Vec<E>,)| {
        Box::new(async move {
            let effects: Vec<types::Effect> = effects.into_iter().map(Into::into).collect();
            let count = effects.len() as u64;
            let (flushed, bytes) = store.data_mut().flushed(effects)?;
            let price = fuel::FLUSH + fuel::CALL.saturating_mul(count) + of_bytes(bytes);
            pay(&mut store, price).await?;
            flushed.apply().await;
            fuel::waited(&mut store)
        })
    })
}

impl State {
    fn socket_ref(&self) -> Option<String> {
        let current = self.current.as_ref()?;
        let (caller, server) = (&current.caller, current.progress.server());
        let reply_to = caller.reply_to.as_ref()?;
        self.settings().sealed(&SocketRef::new(server, &caller.context, reply_to)?)
    }
}
