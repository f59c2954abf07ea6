//! Whose call it is, as far as a plugin is shared out by that.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use millrace_pipeline::StageName;
use millrace_session::channel::{Caller, Progress, Standing};

/// A connection, or what stands for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CallOwner {
    /// Calls of one number take their turns together.
    pub(super) number: u64,
    /// Whose faults count together.
    pub(super) source: u64,
    /// It has made a fault itself. What goes well for it says nothing of how others
    /// are served.
    pub(super) has_faulted: bool,
}

/// What is no connection has numbers above theirs.
const NO_CONNECTION: u64 = 1 << 63;

impl CallOwner {
    /// The server's own calls: it tries a version out.
    pub(super) const SERVER: Self =
        Self { number: NO_CONNECTION, source: NO_CONNECTION, has_faulted: true };

    pub(super) fn connection(caller: &Caller, progress: &dyn Progress) -> Self {
        let Standing { source, has_faulted } = progress.standing();
        Self { number: caller.context.connection, source, has_faulted }
    }

    /// Somebody who asks to connect from an address: `IP:PORT`.
    pub(super) fn peer(peer: &str) -> Self {
        let address = peer.rsplit_once(':').map_or(peer, |(address, _)| address);
        let number = NO_CONNECTION | hash(address);
        Self { number, source: number, has_faulted: false }
    }

    /// The workers of a stage of a pipeline.
    pub(super) fn workers(stage: &StageName) -> Self {
        let number = NO_CONNECTION | hash((&stage.pipeline, stage.stage));
        Self { number, source: number, has_faulted: true }
    }
}

fn hash(of: impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(of)
}
