//! Presence: who is on a topic. [`Socket::track`](crate::Socket::track) says so of somebody; here
//! it is read, and handled when it changes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::bindings::millrace::plugin::presence as raw;
use crate::{Effects, Error, Result};

/// The metas of one key: one for each channel that tracks it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(bound(deserialize = "M: DeserializeOwned"))]
pub struct Presence<M> {
    /// The metas in the order in which they came, each with its `phx_ref`.
    pub metas: Vec<M>,
}

/// A change of who is on a topic, by key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(bound(deserialize = "M: DeserializeOwned"))]
pub struct Diff<M> {
    /// The metas that came.
    pub joins: BTreeMap<String, Presence<M>>,
    /// The metas that went. A meta that was updated is in both.
    pub leaves: BTreeMap<String, Presence<M>>,
}

/// Handles changes of who is on the topics of the plugin's channels, once for each change, whatever
/// the number of clients (as `handle_metas` in Phoenix).
///
/// ```
/// # use millrace_plugin::prelude::*;
/// struct Door;
///
/// impl PresenceHandler for Door {
///     type Meta = serde_json::Value;
///
///     fn handle_presence(
///         effects: &mut Effects,
///         topic: &str,
///         diff: presence::Diff<Self::Meta>,
///     ) -> Result<()> {
///         for user in diff.joins.keys() {
///             effects.broadcast(topic, "welcome", json!({ "user": user }))?;
///         }
///         Ok(())
///     }
/// }
///
/// millrace_plugin::export_presence!(Door);
/// # fn main() {}
/// ```
pub trait PresenceHandler {
    /// The type of the metas.
    type Meta: DeserializeOwned;

    /// Handles a change. The changes of one topic come one after the other. An error is logged, and
    /// the effects do not happen.
    fn handle_presence(effects: &mut Effects, topic: &str, diff: Diff<Self::Meta>) -> Result<()>;
}

/// Everybody on a topic, by key.
///
/// # Errors
///
/// The server does not allow the topic to the plugin (`grants.publish`), or a meta cannot be read as
/// an `M`.
pub fn list<M: DeserializeOwned>(topic: &str) -> Result<BTreeMap<String, Presence<M>>> {
    Ok(serde_json::from_slice(&list_json(topic)?)?)
}

/// [`list`] as the JSON text that clients get in `presence_state`.
///
/// # Errors
///
/// The server does not allow the topic to the plugin.
pub fn list_json(topic: &str) -> Result<Vec<u8>> {
    raw::members(topic).map_err(Error::msg)
}

/// One key of a topic; `None` if it is not there.
///
/// # Errors
///
/// As those of [`list`].
pub fn get<M: DeserializeOwned>(topic: &str, key: &str) -> Result<Option<Presence<M>>> {
    let found = raw::get(topic, key).map_err(Error::msg)?;
    Ok(found.map(|json| serde_json::from_slice(&json)).transpose()?)
}

/// Exports a [`PresenceHandler`](crate::PresenceHandler). Use it besides [`export!`].
#[macro_export]
macro_rules! export_presence {
    ($handler:ty) => {
        const _: () = {
            use $crate::bindings::millrace::plugin::types;
            use $crate::bindings::presence::exports::millrace::plugin::presence_handler;

            struct Plugin;

            impl presence_handler::Guest for Plugin {
                fn handle_presence(
                    topic: ::std::string::String,
                    diff: ::std::vec::Vec<u8>,
                ) -> ::std::vec::Vec<types::Effect> {
                    $crate::runtime::handle_presence::<$handler>(&topic, &diff)
                }
            }

            $crate::bindings::presence::export_presence_plugin!(
                Plugin with_types_in $crate::bindings::presence
            );
        };
    };
}
