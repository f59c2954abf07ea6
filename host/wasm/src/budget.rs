//! The limits of one call: how many effects it may return, how many bytes, and how large its
//! assigns may be.
//!
//! What is above a limit is a fault of the call; an effect without a grant is left out.

use bytestring::ByteString;
use millrace_session::channel::{ChannelEffect, Effect, Joined, Outcome};
use millrace_wire::Payload;
use smol_str::SmolStr;

use super::bindings::exports::millrace::plugin::channel;
use super::bindings::millrace::plugin::types;
use super::convert::{assigns_back, json};
use super::withheld::{Withheld, replacement, withheld};
use super::{Fault, PluginLimits};
use crate::Settings;

/// The limits of one call, and what is left of them while its effects are checked.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// The value of `limits.max_effects`.
    max_effects: usize,
    /// The value of `limits.max_effect_bytes`.
    max_bytes: usize,
    /// The value of `limits.max_assigns_bytes`.
    max_assigns_bytes: usize,
    /// The number of effects that are left of `max_effects`.
    effects: usize,
    /// The bytes that are left of `max_bytes`.
    bytes: usize,
    pub(super) call: CallKind,
    /// Whether the plugin exports `tasks`; if not, starting one is a fault.
    pub(super) tasks: bool,
    /// The JSON that the call was handed. A payload that is the same bytes needs no check and
    /// shares its memory; channels pass on most of what they get.
    handed: Option<ByteString>,
    /// The effects that were left out since [`Self::take_withheld`] was last called.
    pub(super) withheld: Vec<Withheld>,
}

/// The kinds of calls: each may have other effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    /// A call that handles a message of the client, and may reply to it.
    Message,
    /// Another callback of a channel, which has no message to reply to.
    Other,
    /// A task, which runs beside the channels.
    Task,
    /// A worker's call, for events of a pipeline.
    Worker,
}

impl Budget {
    /// The whole limits of one call. `tasks` says whether the plugin exports `tasks`.
    pub(super) fn new(limits: &PluginLimits, call: CallKind, tasks: bool) -> Self {
        let &PluginLimits { max_effects, max_effect_bytes, max_assigns_bytes, .. } = limits;
        Self {
            max_effects,
            max_bytes: max_effect_bytes,
            max_assigns_bytes,
            effects: max_effects,
            bytes: max_effect_bytes,
            call,
            tasks,
            handed: None,
            withheld: Vec::new(),
        }
    }

    /// Takes the effects that were left out since the last call of this.
    pub(super) fn take_withheld(&mut self) -> Vec<Withheld> {
        std::mem::take(&mut self.withheld)
    }

    /// This budget, for a call that is handed `payload`.
    pub(super) fn handed(mut self, payload: Option<&Payload>) -> Self {
        if let Some(Payload::Json(text)) = payload {
            self.handed = Some(text.clone());
        }
        self
    }

    /// Checks the answer to a join: accepted with an outcome, or refused with a payload.
    pub(super) fn joined(
        &mut self,
        joined: Result<channel::Joined, types::PayloadResult>,
        settings: &Settings,
    ) -> Result<Result<Joined, Payload>, Fault> {
        match joined {
            Ok(joined) => {
                let response = joined.response.map(|payload| self.payload(payload)).transpose()?;
                let outcome = self.outcome(joined.outcome, settings)?;
                Ok(Ok(Joined { response, outcome }))
            }
            Err(refusal) => Ok(Err(self.payload(refusal)?)),
        }
    }

    /// The bytes of all that was checked so far.
    pub(super) fn spent_bytes(&self) -> usize {
        self.max_bytes - self.bytes
    }

    /// Checks an outcome: its effects, and the size of its assigns.
    pub(super) fn outcome(
        &mut self,
        outcome: types::Outcome,
        settings: &Settings,
    ) -> Result<Outcome, Fault> {
        let effects = self.effects(outcome.effects, settings)?;
        let assigns = outcome.assigns.map(|assigns| assigns_back(assigns, self.max_assigns_bytes));
        Ok(Outcome { effects, assigns: assigns.transpose()? })
    }

    /// Checks an outcome that is only a reply with the status `ok` and this JSON (`batched.replied`
    /// in `wit/v0.1/batch.wit`).
    pub(super) fn replied(&mut self, data: &[u8]) -> Result<Outcome, Fault> {
        self.effects = self.effects.checked_sub(1).ok_or_else(|| self.too_many(1))?;
        self.spend(data.len())?;
        let payload = match &self.handed {
            Some(handed) if handed.as_bytes() == data => Payload::Json(handed.clone()),
            _ => json(data.to_vec())?,
        };
        let effects =
            vec![ChannelEffect::Reply { status: SmolStr::new_static("ok"), payload }.into()];
        Ok(Outcome { effects, assigns: None })
    }

    /// The fault of a call that has `more` effects than are left.
    fn too_many(&self, more: usize) -> Fault {
        let (found, allowed) = (more + (self.max_effects - self.effects), self.max_effects);
        Fault::bad_return(format!(
            "the call returned {found} effects, allowed are {allowed} (limits.max_effects)"
        ))
    }

    /// Checks effects that are applied while their call goes on (`call.flush`).
    ///
    /// # Errors
    ///
    /// A fault as of [`Self::effects`], and if there is a `stop` among them: it ends the channel,
    /// so it can only be returned.
    pub(super) fn flushed(
        &mut self,
        effects: Vec<types::Effect>,
        settings: &Settings,
    ) -> Result<Vec<Effect>, Fault> {
        if effects.iter().any(|effect| matches!(effect, types::Effect::Stop)) {
            return Err(Fault::bad_return("`stop` cannot be flushed; return it".to_owned()));
        }
        self.effects(effects, settings)
    }

    /// Checks effects. Those for which `settings` have no grant are left out, which is no fault.
    ///
    /// # Errors
    ///
    /// A fault if there are more than `limits.max_effects` or more bytes than
    /// `limits.max_effect_bytes` in the whole call, or if one does not belong to this kind of call.
    pub(super) fn effects(
        &mut self,
        effects: Vec<types::Effect>,
        settings: &Settings,
    ) -> Result<Vec<Effect>, Fault> {
        let found = effects.len();
        self.effects = self.effects.checked_sub(found).ok_or_else(|| self.too_many(found))?;
        let mut checked = Vec::with_capacity(effects.len());
        for effect in effects {
            let Some(effect) = self.effect(effect, settings)? else { continue };
            match withheld(&effect, settings) {
                None => checked.push(effect),
                Some(why) => {
                    checked.extend(replacement(effect, &why));
                    self.withheld.push(why);
                }
            }
        }
        Ok(checked)
    }

    /// Checks a payload and takes its bytes off the budget. JSON has to be valid UTF-8 and JSON.
    pub(super) fn payload(&mut self, payload: types::PayloadResult) -> Result<Payload, Fault> {
        let (types::PayloadResult::Json(data) | types::PayloadResult::Binary(data)) = &payload;
        self.spend(data.len())?;
        match payload {
            types::PayloadResult::Json(data) => match &self.handed {
                Some(handed) if *handed.as_bytes() == data => Ok(Payload::Json(handed.clone())),
                _ => json(data),
            },
            types::PayloadResult::Binary(data) => Ok(Payload::Binary(data.into())),
        }
    }

    /// Takes bytes off the budget; a fault if there are fewer left.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(Fault::bad_return(format!(
                "the effects of the call have more than {} bytes (limits.max_effect_bytes)",
                self.max_bytes
            ))),
        }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
