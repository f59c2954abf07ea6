//! The seam for other nodes: each node alone writes its own entries, and tells the others by
//! operations in order.
//!
//! How operations travel, and how a hole is noticed, is not decided here. What a node needs of
//! another is its snapshot ([`Presences::local_entries`]) and, in order, every operation after it
//! ([`Presences::take_local_ops`]); or, after a hole, [`Presences::forget_node`] and the snapshot
//! again. If both come inside one window, what is the same in both is never told to clients.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::member::{Entry, Member, Origin};
use crate::{Meta, Node, Now, PhxRef, Presences};

/// A change of one entry of a node. Applied twice in a row, it changes nothing the second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The topic of the entry.
    pub topic: Arc<str>,
    /// The key of the entry.
    pub key: SmolStr,
    /// The ref of the entry, as its node gave it.
    pub phx_ref: PhxRef,
    /// The change itself.
    pub change: Change,
}

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A join of a new entry.
    Join(Meta),
    /// A join in place of another entry of the node, if that one is there.
    Update {
        /// The ref of the other entry.
        prev: PhxRef,
        /// The new meta.
        meta: Meta,
    },
    /// The leave of an entry that joined before.
    Leave,
}

/// Operations of this node, in the order in which they happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalOps {
    /// The operations since the last call.
    pub ops: Vec<Op>,
    /// Whether others are missing before those, so that only a snapshot tells other nodes what
    /// there is.
    pub lost: bool,
}

impl LocalOps {
    pub(crate) fn push(
        &mut self,
        topic: &Arc<str>,
        key: &SmolStr,
        phx_ref: PhxRef,
        change: Change,
        allowed: usize,
    ) {
        if self.ops.len() >= allowed {
            self.lost = true;
            self.ops = Vec::new();
        }
        self.ops.push(Op { topic: topic.clone(), key: key.clone(), phx_ref, change });
    }
}

impl Presences {
    /// Applies operations of another node, in their order. They are taken as that node's limits
    /// allowed them: whoever decodes them bounds what one message may have.
    pub fn apply_remote(&mut self, node: Node, ops: impl IntoIterator<Item = Op>, now: Now) {
        let origin = Origin::Remote(node);
        for op in ops {
            let phx_ref = op.phx_ref;
            self.change(&op.topic, &op.key, now.ms, |member| match op.change {
                Change::Join(meta) => member.join(Entry::joining(origin, phx_ref, None, meta)),
                Change::Update { prev, meta } => member.update(origin, prev, phx_ref, meta),
                Change::Leave => {
                    member.leave(origin, phx_ref);
                }
            });
        }
    }

    /// All entries of another node leave: it has gone, or its snapshot comes next. Each topic tells
    /// of them in one diff. Walks all members of the shard.
    pub fn forget_node(&mut self, node: Node, now: Now) {
        let is_of_node = |member: &Member| {
            let origin = Origin::Remote(node);
            member.metas.iter().any(|entry| entry.origin == origin && entry.is_current())
        };
        let mut forgotten = Vec::new();
        for (name, topic) in &self.topics {
            let members = topic.members().filter(|(_, member)| is_of_node(member));
            forgotten.extend(members.map(|(key, _)| (name.clone(), key.clone())));
        }
        for (topic, key) in &forgotten {
            self.change(topic, key, now.ms, |member| member.forget(node));
        }
    }

    /// The operations of this node's own owners since the last call. None are kept before the first
    /// call, which says that some are lost; and so does one that comes too late
    /// ([`Limits::max_local_ops`](crate::Limits::max_local_ops)).
    pub fn take_local_ops(&mut self) -> LocalOps {
        let before = LocalOps { ops: Vec::new(), lost: true };
        self.local_ops.replace(LocalOps::default()).unwrap_or(before)
    }

    /// The snapshot of this node's own: an operation for each entry that is there now. Whoever
    /// applies it to nothing has the same, and whoever applies what
    /// [`Presences::take_local_ops`] gives next keeps it the same.
    #[must_use]
    pub fn local_entries(&self) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut topics: Vec<_> = self.topics.iter().collect();
        topics.sort_unstable_by_key(|(name, _)| *name);
        for (topic, members) in topics {
            for (key, member) in members.members() {
                let is_own = |entry: &&Entry| matches!(entry.origin, Origin::Local(_));
                let entries = member.metas.iter().filter(|entry| entry.is_current());
                ops.extend(entries.filter(is_own).map(|entry| {
                    let meta = entry.meta.clone();
                    let change = match entry.prev {
                        Some(prev) => Change::Update { prev, meta },
                        None => Change::Join(meta),
                    };
                    let (topic, key) = (topic.clone(), key.clone());
                    Op { topic, key, phx_ref: entry.phx_ref, change }
                }));
            }
        }
        ops
    }
}
