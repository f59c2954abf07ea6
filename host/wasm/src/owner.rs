//! The owner of a call: a plugin's instances are shared out by owner, and faults are counted by
//! owner.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use millrace_pipeline::StageName;
use millrace_session::channel::{Caller, Progress, Standing};

/// The owner of a call: a connection, or something that stands for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CallOwner {
    /// The number of the owner. Calls with the same number share one turn in the queue for
    /// instances.
    pub(super) number: u64,
    /// The source of faults: faults of owners with the same source are counted together.
    pub(super) source: u64,
    /// Whether this owner has caused a fault. A call that goes well for it does not show that
    /// others are served well.
    pub(super) has_faulted: bool,
}

/// The bit that is set in numbers of owners that are no connections.
const NO_CONNECTION: u64 = 1 << 63;

impl CallOwner {
    /// The server itself, which calls a version to try it out.
    pub(super) const SERVER: Self =
        Self { number: NO_CONNECTION, source: NO_CONNECTION, has_faulted: true };

    /// The connection that a call is for.
    pub(super) fn connection(caller: &Caller, progress: &dyn Progress) -> Self {
        let Standing { source, has_faulted } = progress.standing();
        Self { number: caller.context.connection, source, has_faulted }
    }

    /// Whoever asks to connect from an address `IP:PORT`: all ports of one IP address are one
    /// owner.
    pub(super) fn peer(peer: &str) -> Self {
        let address = peer.rsplit_once(':').map_or(peer, |(address, _)| address);
        let number = NO_CONNECTION | hash(address);
        Self { number, source: number, has_faulted: false }
    }

    /// The workers of one stage of a pipeline.
    pub(super) fn workers(stage: &StageName) -> Self {
        let number = NO_CONNECTION | hash((&stage.pipeline, stage.stage));
        Self { number, source: number, has_faulted: true }
    }

    /// Whoever is present on a topic.
    pub(super) fn presence(topic: &str) -> Self {
        let number = NO_CONNECTION | hash(topic);
        Self { number, source: number, has_faulted: true }
    }
}

fn hash(of: impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(of)
}
