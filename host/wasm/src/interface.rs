//! The host's own interface: the text of `wit/`, parsed, with which components are compared.

use wit_parser::{InterfaceId, Resolve, SourceMap, WorldItem};

use super::bindings::TRACKS;

/// The text of a file of `wit/`, by its track and name.
macro_rules! source {
    ($track:literal, $name:literal) => {
        ($name, include_str!(concat!("../../../wit/", $track, "/", $name)))
    };
}

/// The files of a track, so that a check needs none.
macro_rules! sources {
    ($track:literal) => {
        [
            source!($track, "types.wit"),
            source!($track, "channel.wit"),
            source!($track, "batch.wit"),
            source!($track, "socket.wit"),
            source!($track, "tasks.wit"),
            source!($track, "worker.wit"),
            source!($track, "dispatcher.wit"),
            source!($track, "migration.wit"),
            source!($track, "grants.wit"),
            source!($track, "host.wit"),
            source!($track, "worlds.wit"),
        ]
    };
}

/// The sources of each track, the open one first, as in [`super::bindings::TRACKS`].
const SOURCES: [[(&str, &str); 11]; TRACKS.len()] = [sources!("v0.2"), sources!("v0.1")];

/// The interface of the host, parsed: the world `everything` of each track.
pub(super) struct HostInterface {
    pub(super) resolve: Resolve,
    worlds: Vec<wit_parser::WorldId>,
}

impl HostInterface {
    pub(super) fn new() -> Result<Self, String> {
        let parsed = || {
            let mut host = Self { resolve: Resolve::default(), worlds: Vec::new() };
            for track in SOURCES {
                let mut sources = SourceMap::default();
                for (name, source) in track {
                    sources.push_str(name, source);
                }
                let group = sources.parse().map_err(|(_, error)| error.to_string())?;
                let package = host.resolve.push_group(group).map_err(|error| error.to_string())?;
                let world = host.resolve.select_world(&[package], Some("everything"));
                host.worlds.push(world.map_err(|error| error.to_string())?);
            }
            Ok(host)
        };
        parsed().map_err(|error: String| {
            format!("cannot be checked: the host's own interface: {error}")
        })
    }

    /// The interfaces that plugins import (`imports`) or export, by name.
    pub(super) fn interfaces(&self, imports: bool) -> impl Iterator<Item = (String, InterfaceId)> {
        let worlds = self.worlds.iter().filter_map(|world| self.resolve.worlds.get(*world));
        let items =
            worlds.flat_map(
                move |world| {
                    if imports { world.imports.iter() } else { world.exports.iter() }
                },
            );
        items.filter_map(|(key, item)| match item {
            WorldItem::Interface { id, .. } => Some((self.resolve.name_world_key(key), *id)),
            _ => None,
        })
    }

    /// The host's side of what a plugin imports (`imports`) or exports.
    pub(super) fn interface(&self, name: &str, imports: bool) -> Option<&wit_parser::Interface> {
        let (_, id) = self.interfaces(imports).find(|(known, _)| known == name)?;
        self.resolve.interfaces.get(id)
    }
}
