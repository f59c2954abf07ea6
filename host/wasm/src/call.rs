//! Calls of a plugin: an instance from the pool, its fuel, the call on a fiber, and the check of
//! what it returns.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_session::channel::{
    Assigns, Callback, Caller, Completion, Context, Effect, Info, Progress,
};
use millrace_telemetry::WasmMeters;
use millrace_wire::Payload;

use super::bindings::exports::millrace::plugin::{channel, outgoing, socket};
use super::budget::{Budget, CallKind};
use super::caught::poll_caught;
use super::claim::InstanceClaim;
use super::convert::{self, ConnectRequest, Connected, Refusal};
use super::fair_queue::WorkKind;
use super::host::Current;
use super::idle::PooledInstance;
use super::instance::Instance;
use super::owner::CallOwner;
use super::withheld::{self, About};
use super::{Fault, Pool};
use crate::Settings;

/// The context of a call of a channel or a task.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The channel and the message that the call is for.
    pub caller: Caller,
    /// The receiver of the effects that the call flushes.
    pub progress: Arc<dyn Progress>,
}

impl CallContext {
    /// The connection that the call is for.
    fn owner(&self) -> CallOwner {
        CallOwner::connection(&self.caller, &*self.progress)
    }
}

impl Pool {
    /// Makes one call of the `channel` or `outgoing` interface. Returns what it came to, and how
    /// long it took (zero if calls are not measured).
    ///
    /// Most calls are ready at the first poll. A call that waits, or has used a slice of its fuel,
    /// is pending and holds no thread. Dropping the future ends its instance.
    pub async fn call(
        &self,
        call_context: CallContext,
        assigns: &Assigns,
        callback: &Callback,
    ) -> (Result<Completion, Fault>, Duration) {
        let limits = self.component().limits();
        let deadline = match callback {
            Callback::Join { .. } => (limits.join_timeout_ms, "join_timeout_ms"),
            _ => (limits.call_timeout_ms, "call_timeout_ms"),
        };
        let mut timer = CallTimer::new(&self.meters);
        let component = self.component();
        let context = Arc::clone(&call_context.caller.context);
        let moves = component.has_to_migrate(&context.topic, assigns, callback);
        let claim = self.claim(call_context.owner(), WorkKind::Call);
        let call = async {
            let mut pooled = self.start(&mut timer, &claim).await?;
            let result = match moves {
                // Boxed: few calls need it, and the future of each call would be larger by it.
                true => {
                    Box::pin(pooled.instance.call_migrated(call_context, assigns, callback)).await
                }
                false => pooled.instance.call(call_context, assigns, callback).await,
            };
            let result = result.map(|mut completion| {
                component.adopt(&context.topic, assigns, &mut completion);
                if completion.is_error() {
                    self.answered_error();
                }
                completion
            });
            self.ended(pooled, &mut timer, &claim.owner, result)
        };
        let result = self.within(deadline, &claim, pin!(call)).await;
        (result, timer.took())
    }

    /// Runs a task to its end, and returns its effects.
    ///
    /// # Errors
    ///
    /// The fault of the call: it trapped, broke a limit, took longer than `limits.task_timeout_ms`,
    /// or was not made.
    pub async fn run_task(
        &self,
        call_context: CallContext,
        name: &str,
        payload: &Payload,
    ) -> Result<Vec<Effect>, Fault> {
        let deadline = (self.component().limits().task_timeout_ms, "task_timeout_ms");
        let mut timer = CallTimer::new(&self.meters);
        let claim = self.claim(call_context.owner(), WorkKind::Task);
        let call = async {
            let mut pooled = self.start(&mut timer, &claim).await?;
            let result = pooled.instance.run_task(call_context, name, payload).await;
            self.ended(pooled, &mut timer, &claim.owner, result)
        };
        self.within(deadline, &claim, pin!(call)).await
    }

    /// Asks the plugin whether somebody may connect.
    ///
    /// # Errors
    ///
    /// The fault of the call. A refusal is no fault.
    pub async fn connect(
        &self,
        request: &ConnectRequest,
    ) -> Result<Result<Connected, Refusal>, Fault> {
        let deadline = (self.component().limits().join_timeout_ms, "join_timeout_ms");
        let mut timer = CallTimer::new(&self.meters);
        let claim = self.claim(CallOwner::peer(&request.peer), WorkKind::Call);
        let call = async {
            let mut pooled = self.start(&mut timer, &claim).await?;
            let result = pooled.instance.connect(request).await;
            self.ended(pooled, &mut timer, &claim.owner, result)
        };
        self.within(deadline, &claim, pin!(call)).await
    }

    /// Makes a call under a deadline: its milliseconds, and the configuration key that they come
    /// from. A call that is over its time is dropped, which ends its instance; the fault is
    /// `Overloaded` if it has mostly waited, and else `Deadline`.
    pub(super) async fn within<T>(
        &self,
        (limit, key): (u64, &str),
        claim: &InstanceClaim<'_>,
        call: Pin<&mut impl Future<Output = Result<T, Fault>>>,
    ) -> Result<T, Fault> {
        let limit = Duration::from_millis(limit);
        let (scheduler, name) =
            (&self.component().engine.scheduler, &self.component().settings.name);
        let mut call = call;
        let caught = pin!(poll_fn(|cx| poll_caught(name, call.as_mut(), cx)));
        match scheduler.within(limit, caught, || claim.hold_instance()).await {
            Some(Ok(result)) => result,
            Some(Err(fault)) => Err(fault),
            None => {
                let fault = match claim.has_waited_most_of(limit) {
                    true => Fault::overloaded(limit, key),
                    false => Fault::deadline(limit, key),
                };
                self.faulted(&fault, &claim.owner);
                Err(fault)
            }
        }
    }

    /// A timer for one call.
    pub(super) fn timer(&self) -> CallTimer {
        CallTimer::new(&self.meters)
    }

    /// Gets an instance for a call: an idle one, a new one, or the next that comes back.
    pub(super) async fn start(
        &self,
        timer: &mut CallTimer,
        claim: &InstanceClaim<'_>,
    ) -> Result<Box<PooledInstance>, Fault> {
        if let Some(pooled) = self.take(claim)? {
            claim.begin(pooled.instance.number());
            return Ok(pooled);
        }
        // Boxed: few calls need it, and the future of each call would be larger by it.
        let pooled = Box::pin(self.make_or_wait(claim)).await?;
        claim.begin_after_wait(pooled.instance.number());
        timer.started = self.meters.call_clock();
        Ok(pooled)
    }

    /// Ends a call: measures it, and gives its instance back if it went well.
    pub(super) fn ended<T>(
        &self,
        pooled: Box<PooledInstance>,
        timer: &mut CallTimer,
        owner: &CallOwner,
        result: Result<T, Fault>,
    ) -> Result<T, Fault> {
        timer.ended = self.meters.call_clock();
        if let (Some(started), Some(ended)) = (timer.started, timer.ended) {
            let (fuel, memory_bytes) = pooled.instance.used();
            self.meters.called(ended.duration_since(started), fuel, memory_bytes);
        }
        match &result {
            Ok(_) => self.give_back(pooled, owner),
            Err(fault) => self.faulted(fault, owner),
        }
        result
    }
}

/// The times at which a call began, started in its instance and ended; all `None` if calls are not
/// measured.
#[derive(Debug)]
pub(super) struct CallTimer {
    begun: Option<Instant>,
    started: Option<Instant>,
    ended: Option<Instant>,
}

impl CallTimer {
    fn new(meters: &WasmMeters) -> Self {
        let now = meters.call_clock();
        Self { begun: now, started: now, ended: None }
    }

    /// The duration of the call; zero if calls are not measured.
    pub(super) fn took(&self) -> Duration {
        let Some(begun) = self.begun else { return Duration::ZERO };
        // A call that was cut off has no end of its own.
        self.ended.unwrap_or_else(Instant::now).duration_since(begun)
    }
}

impl Instance {
    /// As [`Self::call`], on assigns of another schema: they are migrated first, and the channel
    /// has the migrated ones from then on.
    async fn call_migrated(
        &mut self,
        call_context: CallContext,
        assigns: &Assigns,
        callback: &Callback,
    ) -> Result<Completion, Fault> {
        let topic = Arc::clone(&call_context.caller.context.topic);
        let migrated = self.migrate(&topic, assigns).await?;
        let mut completion = self.call(call_context, &migrated, callback).await?;
        if let Completion::Handled(outcome) = &mut completion {
            outcome.assigns.get_or_insert(migrated);
        }
        Ok(completion)
    }

    async fn call(
        &mut self,
        call_context: CallContext,
        assigns: &Assigns,
        callback: &Callback,
    ) -> Result<Completion, Fault> {
        let size = convert::size(&call_context.caller.context, callback);
        self.refuel(assigns.data.len() + size)?;
        let kind = match callback {
            Callback::HandleIn { .. } => CallKind::Message,
            _ => CallKind::Other,
        };
        let context = Arc::clone(&call_context.caller.context);
        self.begin(call_context, kind, convert::handed(callback));
        let answer = match callback {
            Callback::HandleOut(broadcast) => {
                let Some(guest) = &self.outgoing else { return Err(missing("outgoing")) };
                let message = outgoing::Push {
                    event: &broadcast.event,
                    payload: convert::payload(&broadcast.payload),
                };
                let (socket, assigns) = (convert::socket(&context), convert::assigns(assigns));
                let outcome =
                    guest.call_handle_out(&mut self.store, socket, assigns, message).await;
                Answer::Outcome(self.ended(outcome)?)
            }
            _ => self.call_channel(&context, assigns, callback).await?,
        };
        self.checked(|budget, settings| match answer {
            Answer::Join(joined) => {
                budget.joined(joined, settings).map(|joined| Completion::Join(Box::new(joined)))
            }
            Answer::Outcome(outcome) => budget.outcome(outcome, settings).map(Completion::Handled),
        })
    }

    async fn run_task(
        &mut self,
        call_context: CallContext,
        name: &str,
        payload: &Payload,
    ) -> Result<Vec<Effect>, Fault> {
        self.refuel(call_context.caller.context.topic.len() + name.len() + payload.len())?;
        let context = Arc::clone(&call_context.caller.context);
        self.begin(call_context, CallKind::Task, Some(payload));
        let Some(guest) = &self.tasks else { return Err(missing("tasks")) };
        let (socket, payload) = (convert::socket(&context), convert::payload(payload));
        let effects = guest.call_run(&mut self.store, socket, name, payload).await;
        let effects = self.ended(effects)?;
        self.checked(|budget, settings| budget.effects(effects, settings))
    }

    /// Sets the current call, which the imports work for.
    fn begin(&mut self, call_context: CallContext, kind: CallKind, handed: Option<&Payload>) {
        let CallContext { caller, progress } = call_context;
        let budget = Budget::new(&self.limits, kind, self.tasks.is_some()).handed(handed);
        self.store.data_mut().current = Some(Current { caller, progress, budget });
    }

    /// Checks what the call has returned against what flushing has left of its limits.
    fn checked<T>(
        &mut self,
        check: impl FnOnce(&mut Budget, &Settings) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let state = self.store.data_mut();
        let Some(mut current) = state.current.take() else { return Err(Fault::lost()) };
        let checked = check(&mut current.budget, state.settings())?;
        let withheld = current.budget.take_withheld();
        withheld::tell(&withheld, state.settings(), About::Message(&current.caller));
        Ok(checked)
    }

    async fn call_channel(
        &mut self,
        context: &Context,
        assigns: &Assigns,
        callback: &Callback,
    ) -> Result<Answer, Fault> {
        let Some(guest) = &self.channel else { return Err(missing("channel")) };
        let (socket, assigns) = (convert::socket(context), convert::assigns(assigns));
        let store = &mut self.store;
        let outcome = match callback {
            Callback::Join { params } => {
                let joined = guest.call_join(store, socket, assigns, convert::payload(params));
                let joined = joined.await;
                return Ok(Answer::Join(self.ended(joined)?));
            }
            Callback::HandleIn { event, payload, wants_reply } => {
                let payload = convert::payload(payload);
                let message = channel::Message { event, payload, wants_reply: *wants_reply };
                guest.call_handle_in(store, socket, assigns, message).await
            }
            Callback::HandleInfo(Info::Broadcast(broadcast)) => {
                let info = channel::Info::Broadcast(convert::broadcast(broadcast));
                guest.call_handle_info(store, socket, assigns, info).await
            }
            Callback::HandleInfo(Info::Timer(name)) => {
                let info = channel::Info::Timer(name);
                guest.call_handle_info(store, socket, assigns, info).await
            }
            Callback::Terminate(reason) => {
                guest.call_terminate(store, socket, assigns, reason.as_str()).await
            }
            Callback::HandleOut(_) => return Err(missing("outgoing")),
        };
        Ok(Answer::Outcome(self.ended(outcome)?))
    }

    async fn connect(
        &mut self,
        request: &ConnectRequest,
    ) -> Result<Result<Connected, Refusal>, Fault> {
        self.refuel(request.size())?;
        let Some(guest) = &self.socket else { return Err(missing("socket")) };
        let params = convert::pairs(&request.params);
        let (headers, identity) = (convert::pairs(&request.headers), request.identity());
        let request = socket::Request {
            params: &params,
            headers: &headers,
            peer: &request.peer,
            auth_token: request.auth_token.as_deref(),
            identity,
        };
        let answer = guest.call_connect(&mut self.store, request).await;
        convert::connected(self.ended(answer)?, &self.limits)
    }
}

/// The answer of a call, still in the interface's types.
enum Answer {
    Join(Result<channel::Joined, channel::PayloadResult>),
    Outcome(channel::Outcome),
}

/// The fault for an interface that is not exported; routes lead only to plugins that export what is
/// called.
fn missing(interface: &str) -> Fault {
    Fault::bad_return(format!("the plugin does not export `{interface}`"))
}
