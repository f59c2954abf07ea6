//! A member of a topic: a key, with the metas that it has.

use smallvec::SmallVec;

use crate::{Meta, Node, Owner, PhxRef};

/// The writer of an entry: nobody else ever changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A channel of this node.
    Local(Owner),
    /// Another node.
    Remote(Node),
}

/// What clients know of an entry, and whether that is still true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is there; clients do not know of it yet.
    Joining,
    /// It is joining, and the client of its owner knows of it already.
    Shown,
    /// It is there and clients know.
    Present,
    /// It is gone; clients do not know yet.
    Leaving,
    /// It is gone after it was shown: no client knows of it but its owner's, which has to hear that
    /// it left. The next diff joins it and lets it leave.
    Passing,
}

impl State {
    /// The state of an entry that leaves; `None` if no client has ever heard of it.
    fn left(self) -> Option<Self> {
        match self {
            Self::Joining => None,
            Self::Shown | Self::Passing => Some(Self::Passing),
            Self::Present | Self::Leaving => Some(Self::Leaving),
        }
    }
}

/// One meta of a member.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) origin: Origin,
    pub(crate) phx_ref: PhxRef,
    /// After an update: the ref that the meta had before, as far as clients know of it.
    pub(crate) prev: Option<PhxRef>,
    pub(crate) state: State,
    pub(crate) meta: Meta,
}

impl Entry {
    /// An entry that clients are to be told of.
    pub(crate) fn joining(
        origin: Origin,
        phx_ref: PhxRef,
        prev: Option<PhxRef>,
        meta: Meta,
    ) -> Self {
        Self { origin, phx_ref, prev, state: State::Joining, meta }
    }

    /// Whether the entry is true now.
    pub(crate) fn is_current(&self) -> bool {
        matches!(self.state, State::Joining | State::Shown | State::Present)
    }

    /// Whether all clients know of the entry.
    pub(crate) fn is_known(&self) -> bool {
        matches!(self.state, State::Present | State::Leaving)
    }

    /// Whether clients know of the entry, those of this owner at least.
    pub(crate) fn is_known_to(&self, owner: Owner) -> bool {
        let is_own = self.origin == Origin::Local(owner);
        self.is_known() || (is_own && self.state == State::Shown)
    }
}

/// A key's metas, in the order in which they joined. Those that clients know of stand in the order
/// in which clients have them, before all others.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) metas: SmallVec<[Entry; 1]>,
}

impl Member {
    /// Whether the key is there now.
    pub(crate) fn is_current(&self) -> bool {
        self.metas.iter().any(Entry::is_current)
    }

    /// Whether clients know that the key is there.
    pub(crate) fn is_known(&self) -> bool {
        self.metas.iter().any(Entry::is_known)
    }

    /// Whether there is something that clients do not know.
    pub(crate) fn is_pending(&self) -> bool {
        self.metas.iter().any(|entry| entry.state != State::Present)
    }

    /// The number of metas that take a place of the key: those that are there now, and those that
    /// were only shown, lest a client that comes and goes inside a window has ever more of them.
    pub(crate) fn places(&self) -> usize {
        self.metas.iter().filter(|entry| entry.state != State::Leaving).count()
    }

    /// Whether an entry of this writer and this ref is there now.
    pub(crate) fn has(&self, origin: Origin, phx_ref: PhxRef) -> bool {
        self.metas
            .iter()
            .any(|entry| entry.phx_ref == phx_ref && entry.origin == origin && entry.is_current())
    }

    /// The ref of the meta that an owner has.
    pub(crate) fn ref_of(&self, owner: Owner) -> Option<PhxRef> {
        let mut entries = self.metas.iter();
        let is_it = |entry: &&Entry| entry.origin == Origin::Local(owner) && entry.is_current();
        entries.find(is_it).map(|entry| entry.phx_ref)
    }

    /// The client of this owner is about to be told what of the owner's is joining; whether
    /// anything is.
    pub(crate) fn show(&mut self, owner: Owner) -> bool {
        let is_own = |entry: &&mut Entry| entry.origin == Origin::Local(owner);
        let mut is_any = false;
        for entry in self.metas.iter_mut().filter(is_own) {
            if matches!(entry.state, State::Joining | State::Shown) {
                entry.state = State::Shown;
                is_any = true;
            }
        }
        is_any
    }

    /// Adds an entry. One of the same ref is the same entry: while it is leaving it is present
    /// again, and clients hear of neither; otherwise nothing changes.
    pub(crate) fn join(&mut self, new: Entry) {
        let same = self
            .metas
            .iter_mut()
            .find(|entry| entry.phx_ref == new.phx_ref && entry.origin == new.origin);
        match same {
            Some(entry) if entry.state == State::Leaving => entry.state = State::Present,
            // Only a local entry passes, and each of those has a ref of its own.
            Some(_) => {}
            None => self.metas.push(new),
        }
    }

    /// Ends an entry. Returns the ref by which clients know of what it was: its own, or, if none of
    /// them has heard of it yet, the one that it was going to replace.
    pub(crate) fn leave(&mut self, origin: Origin, phx_ref: PhxRef) -> Option<PhxRef> {
        let is_it = |entry: &Entry| entry.phx_ref == phx_ref && entry.origin == origin;
        let at = self.metas.iter().position(is_it)?;
        let entry = self.metas.get_mut(at)?;
        let Some(left) = entry.state.left() else { return self.metas.remove(at).prev };
        entry.state = left;
        Some(phx_ref)
    }

    /// Replaces an entry by another, which is the last of its key then, as it is for clients, who
    /// take a join and a leave. The new one names the old in `phx_ref_prev` only if clients know
    /// of the old one; a second update inside a window names the one that they know.
    pub(crate) fn update(&mut self, origin: Origin, old: PhxRef, phx_ref: PhxRef, meta: Meta) {
        // Of another node, the old one may never have been heard of.
        let prev = if self.has(origin, old) { self.leave(origin, old) } else { Some(old) };
        self.join(Entry::joining(origin, phx_ref, prev, meta));
    }

    /// Ends all entries of another node.
    pub(crate) fn forget(&mut self, node: Node) {
        let origin = Origin::Remote(node);
        self.metas.retain(|entry| entry.origin != origin || entry.is_known());
        for entry in self.metas.iter_mut().filter(|entry| entry.origin == origin) {
            entry.state = State::Leaving;
        }
    }

    /// Clients have been told of everything.
    pub(crate) fn publish(&mut self) {
        self.metas.retain(|entry| entry.is_current());
        for entry in &mut self.metas {
            entry.state = State::Present;
        }
        if self.metas.len() * 4 <= self.metas.capacity() {
            self.metas.shrink_to_fit();
        }
    }
}
