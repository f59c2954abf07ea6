//! Effects that are left out because their plugin may not have them, and what the log says of them.

use std::fmt;

use millrace_session::channel::{Caller, ChannelEffect, Effect, ServerEffect};
use millrace_wire::{Payload, reserved};
use tracing::field::display;
use tracing::warn;

use crate::{Denied, Need, Settings};

/// The reason why an effect was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// There is no grant for it.
    Denied(Denied),
    /// The topic is reserved: no plugin may use it.
    Reserved {
        /// The topic.
        topic: String,
        /// The owner of the topic, in words.
        problem: &'static str,
    },
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denied) => denied.fmt(f),
            Self::Reserved { topic, problem } => write!(f, "the topic {topic:?} {problem}"),
        }
    }
}

/// The purpose of the call whose effects they were.
#[derive(Clone, Copy, Debug)]
pub(super) enum About<'a> {
    /// A message of a channel, or a task.
    Message(&'a Caller),
    /// The presences of a topic.
    Topic(&'a str),
    /// Events of a pipeline.
    Pipeline(&'a str),
}

/// Logs the effects that were left out, within the limit of such lines.
pub(super) fn tell(withheld: &[Withheld], settings: &Settings, about: About<'_>) {
    for withheld in withheld {
        let Some(line) = settings.takes_withheld_line() else { continue };
        let (plugin, left_out) = (settings.name.as_str(), line.left_out());
        match about {
            About::Message(caller) => {
                let (id, topic) = (display(caller.message()), &caller.context.topic);
                warn!(plugin, id, %topic, left_out, "an effect was left out: {withheld}");
            }
            About::Topic(topic) => {
                warn!(plugin, topic, left_out, "an effect was left out: {withheld}");
            }
            About::Pipeline(pipeline) => {
                warn!(plugin, pipeline, left_out, "an effect was left out: {withheld}");
            }
        }
    }
}

/// The reason why an effect is left out; `None` if it happens, as nearly all do.
#[inline]
pub(super) fn withheld(effect: &Effect, settings: &Settings) -> Option<Withheld> {
    if let Some(topic) = topic_of(effect)
        && let Some(problem) = reserved(topic)
    {
        return Some(Withheld::Reserved { topic: topic.to_owned(), problem });
    }
    if !settings.is_limited {
        return None;
    }
    let need = match effect {
        Effect::Channel(ChannelEffect::Subscribe(topic)) => Need::Subscribe(topic.clone()),
        Effect::Server(ServerEffect::Enqueue { pipeline, .. }) => Need::Enqueue(pipeline.clone()),
        Effect::Server(ServerEffect::Disconnect(user_id)) => Need::Disconnect(user_id.clone()),
        _ => Need::Publish(topic_of(effect)?.to_owned()),
    };
    settings.check(&need).err().map(Withheld::Denied)
}

/// The topic that an effect names, if it names one: that of a broadcast or subscription.
fn topic_of(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Server(ServerEffect::Broadcast { broadcast, .. }) => Some(&broadcast.topic),
        Effect::Channel(ChannelEffect::Broadcast { topic, .. }) => topic.as_deref(),
        Effect::Channel(ChannelEffect::Subscribe(topic)) => Some(topic),
        _ => None,
    }
}

/// The effect that happens in place of one that is left out: whoever waits for an answer gets an
/// error.
#[cold]
pub(super) fn replacement(effect: Effect, why: &Withheld) -> Option<Effect> {
    let (Effect::Server(ServerEffect::Enqueue { event, .. }), Withheld::Denied(denied)) =
        (effect, why)
    else {
        return None;
    };
    let socket_ref = event.reply_to?;
    let (status, payload) = ("error".to_owned(), Payload::reason(&denied.to_string()));
    Some(ServerEffect::ReplyTo { socket_ref, status, payload }.into())
}
