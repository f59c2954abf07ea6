//! Calling a plugin: an instance from the pool, its fuel, the call on a fiber,
//! the result checked.

use super::bindings::exports::millrace::plugin::{channel, outgoing, socket};
use super::convert::{self, ConnectRequest, Connected, Refusal};
use super::instance::Instance;
use super::{Fault, Pool};
use crate::channel::{Assigns, Callback, Completion, Context, Info};

impl Pool {
    /// Makes one call of the `channel` or `outgoing` interface.
    ///
    /// Most calls are ready at the first poll. One that waits, or has used a
    /// slice of its fuel, is pending and holds no thread. Dropping the future
    /// ends its instance.
    pub async fn call(
        &self,
        context: &Context,
        assigns: &Assigns,
        callback: &Callback,
    ) -> Result<Completion, Fault> {
        #[cfg(feature = "bench-native")]
        if let Some(completion) = native(callback) {
            return Ok(completion);
        }
        let mut taken = self.take().await?;
        let result = taken.instance.call(context, assigns, callback).await;
        match result {
            Ok(completion) => {
                self.give_back(taken);
                Ok(completion)
            }
            Err(fault) => {
                self.faulted();
                Err(fault)
            }
        }
    }

    /// Asks the plugin whether somebody may connect.
    pub async fn connect(
        &self,
        request: &ConnectRequest,
    ) -> Result<Result<Connected, Refusal>, Fault> {
        let mut taken = self.take().await?;
        let result = taken.instance.connect(request).await;
        match result {
            Ok(answer) => {
                self.give_back(taken);
                Ok(answer)
            }
            Err(fault) => {
                self.faulted();
                Err(fault)
            }
        }
    }
}

impl Instance {
    async fn call(
        &mut self,
        context: &Context,
        assigns: &Assigns,
        callback: &Callback,
    ) -> Result<Completion, Fault> {
        self.refuel(assigns.data.len() + convert::size(callback))?;
        let answer = match callback {
            Callback::HandleOut(broadcast) => {
                let Some(guest) = &self.outgoing else { return Err(missing("outgoing")) };
                let message = outgoing::Push {
                    event: &broadcast.event,
                    payload: convert::payload(&broadcast.payload),
                };
                let (socket, assigns) = (convert::socket(context), convert::assigns(assigns));
                let outcome =
                    guest.call_handle_out(&mut self.store, socket, assigns, message).await;
                Answer::Outcome(self.ended(outcome)?)
            }
            _ => self.call_channel(context, assigns, callback).await?,
        };
        match answer {
            Answer::Join(joined) => convert::joined(joined, &self.limits).map(Completion::Join),
            Answer::Outcome(outcome) => {
                let replies = matches!(callback, Callback::HandleIn { .. });
                convert::outcome(outcome, replies, &self.limits).map(Completion::Handled)
            }
        }
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
        let headers = convert::pairs(&request.headers);
        let request = socket::Request {
            params: &params,
            headers: &headers,
            peer: &request.peer,
            auth_token: request.auth_token.as_deref(),
        };
        let answer = guest.call_connect(&mut self.store, request).await;
        convert::connected(self.ended(answer)?, &self.limits)
    }
}

/// What a call returned, still in the interface's types.
enum Answer {
    Join(Result<channel::Joined, channel::PayloadResult>),
    Outcome(channel::Outcome),
}

/// Routes lead only to plugins that export what is called.
fn missing(interface: &str) -> Fault {
    Fault::bad_return(format!("the plugin does not export `{interface}`"))
}

/// What the probe app does with `ping`, compiled into the host.
#[cfg(feature = "bench-native")]
fn native(callback: &Callback) -> Option<Completion> {
    use crate::channel::{Effect, Outcome};
    let Callback::HandleIn { event, payload, .. } = callback else { return None };
    (event == "ping").then(|| {
        let effect = Effect::Reply { status: "ok".to_owned(), payload: payload.clone() };
        Completion::Handled(Outcome { effects: vec![effect], assigns: None })
    })
}
