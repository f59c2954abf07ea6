//! What a call may return: every limit and every grant, on everything that comes back.

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

/// What is left of a call's limits while its effects are checked.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    max_effects: usize,
    max_bytes: usize,
    max_assigns_bytes: usize,
    /// What is left of `max_effects`.
    effects: usize,
    /// What is left of `max_bytes`.
    bytes: usize,
    pub(super) call: CallKind,
    /// Whether the plugin has tasks to start.
    pub(super) tasks: bool,
    /// JSON the call was handed: what comes back as it was needs no check, and
    /// shares its memory. Channels pass on most of what they get.
    handed: Option<ByteString>,
    /// What was left out.
    pub(super) withheld: Vec<Withheld>,
}

/// What kind of call has effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    /// Handles a message of the client, and may reply to it.
    Message,
    /// Another callback of a channel.
    Other,
    /// Runs beside the channels.
    Task,
    /// Works on events of a pipeline.
    Worker,
}

impl Budget {
    /// The limits of one call. `tasks` says whether the plugin exports any.
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

    /// What was left out of what it checked, since this was last asked.
    pub(super) fn take_withheld(&mut self) -> Vec<Withheld> {
        std::mem::take(&mut self.withheld)
    }

    /// The same for a call that is handed `payload`.
    pub(super) fn handed(mut self, payload: Option<&Payload>) -> Self {
        if let Some(Payload::Json(text)) = payload {
            self.handed = Some(text.clone());
        }
        self
    }

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

    /// The bytes of what it has been given so far.
    pub(super) fn spent_bytes(&self) -> usize {
        self.max_bytes - self.bytes
    }

    pub(super) fn outcome(
        &mut self,
        outcome: types::Outcome,
        settings: &Settings,
    ) -> Result<Outcome, Fault> {
        let effects = self.effects(outcome.effects, settings)?;
        let assigns = outcome.assigns.map(|assigns| assigns_back(assigns, self.max_assigns_bytes));
        Ok(Outcome { effects, assigns: assigns.transpose()? })
    }

    /// An outcome that is nothing but a reply with the status `ok` and this JSON.
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

    fn too_many(&self, more: usize) -> Fault {
        let (found, allowed) = (more + (self.max_effects - self.effects), self.max_effects);
        Fault::bad_return(format!(
            "the call returned {found} effects, allowed are {allowed} (limits.max_effects)"
        ))
    }

    /// Effects of a call that goes on.
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

    /// Those of a plugin that may do what its settings grant.
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
