//! One topic: its members, and what its clients know of them.

use bytestring::ByteString;
use indexmap::{IndexMap, IndexSet};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::member::{Entry, Member};
use crate::{MIN_COUNT_WINDOW_MS, Owner, PresenceEvent, TopicSettings, render};

/// The number of members for each of whom changes wait a millisecond together. A change costs an
/// entry in the outbox of each of them, so that without it the cost of `n` who come or go together
/// would grow with the square of `n`.
const MEMBERS_PER_WINDOW_MS: u64 = 100;

/// What clients have been told last, which is what they can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    /// A state, which is empty at first, and the diffs since then.
    State,
    /// A number of members, too many to name them.
    Count,
}

/// One topic.
#[derive(Debug)]
pub(crate) struct Topic {
    settings: TopicSettings,
    /// The members by key. The hash is std's: keys are chosen by clients.
    members: IndexMap<SmolStr, Member>,
    /// The keys whose members have something that clients do not know.
    pending: IndexSet<SmolStr>,
    announced: Announced,
    /// The number of keys that are there now.
    current: usize,
    /// The number of keys that clients know of, if they know of any.
    known: usize,
    /// The time at which the topic began, in milliseconds, until its clients are told.
    began: Option<u64>,
    /// The end of the window, in milliseconds, while something is pending.
    window_end: Option<u64>,
    /// The text of the state that clients know, once one was asked for.
    state: Option<ByteString>,
}

impl Topic {
    /// A topic that begins at this time, in milliseconds.
    pub(crate) fn new(settings: TopicSettings, now_ms: u64) -> Self {
        Self {
            settings,
            members: IndexMap::new(),
            pending: IndexSet::new(),
            announced: Announced::State,
            current: 0,
            known: 0,
            began: Some(now_ms),
            window_end: None,
            state: None,
        }
    }

    /// Changes the member of a key, which is empty if there was none, and keeps the books. All
    /// changes of members come through here.
    pub(crate) fn change<R>(&mut self, key: &SmolStr, change: impl FnOnce(&mut Member) -> R) -> R {
        let entry = self.members.entry(key.clone());
        let at = entry.index();
        let member = entry.or_default();
        let (was_current, was_known) = (member.is_current(), member.is_known());
        let result = change(member);
        let (is_current, is_known) = (member.is_current(), member.is_known());
        self.current = self.current + usize::from(is_current) - usize::from(was_current);
        self.known = self.known + usize::from(is_known) - usize::from(was_known);
        if member.is_pending() {
            self.pending.insert(key.clone());
        } else {
            self.pending.swap_remove(key);
        }
        if member.metas.is_empty() {
            self.members.swap_remove_index(at);
            if has_slack(self.members.len(), self.members.capacity()) {
                self.members.shrink_to(self.members.len() * 2);
            }
        }
        result
    }

    /// The member of a key.
    pub(crate) fn member(&self, key: &str) -> Option<&Member> {
        self.members.get(key)
    }

    /// All members by key.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&SmolStr, &Member)> + Clone {
        self.members.iter()
    }

    /// Whether there is nothing to know of the topic any more, for anybody.
    pub(crate) fn is_over(&self) -> bool {
        self.members.is_empty()
    }

    /// The time at which there is something to tell, in milliseconds; nothing while clients know
    /// what is true, or once the topic is over.
    pub(crate) fn due(&self) -> Option<u64> {
        let due = self.began.or(self.window_end);
        due.filter(|_| !self.is_over())
    }

    /// Opens the window if something is pending that was not before, and closes it if nothing is
    /// any more.
    pub(crate) fn update_window(&mut self, now_ms: u64) {
        if self.pending.is_empty() {
            self.window_end = None;
        } else if self.window_end.is_none() {
            self.window_end = Some(now_ms.saturating_add(self.window_ms()));
        }
    }

    /// The number of keys that are there now.
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// The time that a change may wait now, in milliseconds.
    fn window_ms(&self) -> u64 {
        match self.announced {
            Announced::Count => self.settings.window_ms.max(MIN_COUNT_WINDOW_MS),
            Announced::State => {
                let members = u64::try_from(self.members.len()).unwrap_or(u64::MAX);
                self.settings.window_ms.max(members / MEMBERS_PER_WINDOW_MS)
            }
        }
    }

    /// What a client that joins is sent: what all others know.
    pub(crate) fn state(&mut self) -> PresenceEvent {
        match self.announced {
            Announced::State => PresenceEvent::State(self.state_text()),
            Announced::Count => PresenceEvent::Count(render::count(self.known)),
        }
    }

    /// What a client is sent that joins and whose owner has these keys here: what all others know,
    /// and what of the owner's they are about to be told.
    pub(crate) fn state_for<'a>(
        &mut self,
        owner: Owner,
        keys: impl Iterator<Item = &'a SmolStr>,
    ) -> PresenceEvent {
        if self.announced == Announced::Count {
            return self.state();
        }
        let mut shown: SmallVec<[usize; 1]> = SmallVec::new();
        let mut are_new = true;
        for key in keys {
            let Some((at, _, member)) = self.members.get_full_mut(key) else { continue };
            if member.show(owner) {
                shown.push(at);
                are_new &= !member.is_known();
            }
        }
        if shown.is_empty() {
            return self.state();
        }
        let wanted = |entry: &Entry| entry.is_known_to(owner);
        let text = if are_new {
            let text = self.state_text();
            let shown = shown.iter().filter_map(|at| self.members.get_index(*at));
            render::members_behind(&text, shown, wanted)
        } else {
            render::members(self.members.iter(), wanted)
        };
        PresenceEvent::State(text)
    }

    /// The text of what clients know. It stays the same until the next flush, whatever is pending.
    fn state_text(&mut self) -> ByteString {
        let members = &self.members;
        let text = || render::members(members.iter(), Entry::is_known);
        self.state.get_or_insert_with(text).clone()
    }

    /// What is true now, as a state is written.
    pub(crate) fn list(&self) -> ByteString {
        render::members(self.members.iter(), Entry::is_current)
    }

    /// Makes known what is due: that the topic has begun, or, if they know, what is pending. Returns
    /// what clients are told, which is nothing only if they follow the number of members and it is
    /// the same.
    pub(crate) fn flush(&mut self) -> Option<PresenceEvent> {
        if self.began.take().is_some() {
            return Some(PresenceEvent::Begin);
        }
        self.window_end = None;
        let was = self.announced;
        let (known, members) = (self.known, self.current);
        let names_too_many = match was {
            Announced::Count => members > self.settings.resume_at(),
            Announced::State => members > self.settings.max_members,
        };
        if names_too_many {
            self.publish();
            self.announced = Announced::Count;
            let is_news = was != Announced::Count || known != self.known;
            return is_news.then(|| PresenceEvent::Count(render::count(self.known)));
        }
        self.announced = Announced::State;
        if was == Announced::State {
            let member = |key| Some((key, self.members.get(key)?));
            let diff = render::diff(self.pending.iter().filter_map(member));
            self.publish();
            return Some(PresenceEvent::Diff(diff));
        }
        self.publish();
        Some(PresenceEvent::State(self.state_text()))
    }

    /// What is pending is known from now on.
    fn publish(&mut self) {
        self.state = None;
        for key in std::mem::take(&mut self.pending) {
            self.change(&key, Member::publish);
        }
    }
}

/// Whether a table has room for far more than is in it, as after a rush.
pub(crate) fn has_slack(len: usize, capacity: usize) -> bool {
    capacity > 64 && len < capacity / 8
}

#[cfg(test)]
impl Topic {
    /// The number of members that there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.members.capacity()
    }
}
