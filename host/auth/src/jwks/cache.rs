//! The cache of a fetched JWK set, as a state machine: it says when to fetch, and with which keys
//! to verify meanwhile.
//!
//! What an attacker can cause: a token with an invented `kid` costs a look-up. However many come,
//! there is at most one fetch in [`CacheSettings::refetch_interval_ms`], or in
//! [`CacheSettings::retry_ms`] while fetching fails. A fetch brings all keys, so ids that were not
//! found need not be remembered.

use std::sync::Arc;

use crate::jwt::KeySet;

/// The times of a cache, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// The age at which keys are fetched anew. Verifying goes on with the old ones meanwhile.
    pub ttl_ms: u64,
    /// The age at which keys are used no more if fetching fails: whoever keeps the server from
    /// fetching must not keep a withdrawn key alive for ever.
    pub max_age_ms: u64,
    /// The time between a fetch and one because of an unknown key id.
    pub refetch_interval_ms: u64,
    /// The time between a fetch that failed and the next.
    pub retry_ms: u64,
    /// The time after which a fetch that nobody reports is given up.
    pub fetch_timeout_ms: u64,
}

impl Default for CacheSettings {
    /// One hour, as others have it; a day; a minute; five seconds; ten seconds.
    fn default() -> Self {
        Self {
            ttl_ms: 3_600_000,
            max_age_ms: 86_400_000,
            refetch_interval_ms: 60_000,
            retry_ms: 5_000,
            fetch_timeout_ms: 10_000,
        }
    }
}

/// What there is to do for a token.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Verify with these keys.
    Use(Arc<KeySet>),
    /// Start a fetch, then look up again. Report what comes of it with the ticket.
    Fetch(FetchTicket),
    /// Look up again when the fetch that is under way has been reported, or at this time at the
    /// latest.
    Wait {
        /// The time at which the fetch is given up, on the clock of the cache.
        until_ms: u64,
    },
    /// There are no keys, and the last fetch failed: refuse with `KeysUnavailable`.
    Unavailable {
        /// The time of the next fetch, on the clock of the cache.
        retry_at_ms: u64,
    },
}

/// The number of a fetch. A report with an old one changes nothing.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct FetchTicket(u64);

/// The fetched keys of one address. Times are milliseconds of one clock that does not jump.
#[derive(Clone, Debug)]
pub struct JwksCache {
    settings: CacheSettings,
    keys: Option<FetchedKeys>,
    fetch: FetchState,
    tickets: u64,
}

#[derive(Clone, Debug)]
struct FetchedKeys {
    set: Arc<KeySet>,
    fetched_at_ms: u64,
}

/// Where fetching stands.
///
/// ```text
/// Never ─ lookup ─▶ UnderWay ─ fetched ─▶ Done
///                    ▲  │ └─── failed ──▶ Failed      both ─ lookup ─▶ UnderWay
///                    └──┘ timeout
/// ```
#[derive(Clone, Copy, Debug)]
enum FetchState {
    Never,
    /// Waits for the report of this fetch.
    UnderWay {
        ticket: FetchTicket,
        since_ms: u64,
    },
    /// Waits until the keys are old, or an unknown id comes after the interval.
    Done {
        at_ms: u64,
    },
    /// Waits for the time of a retry.
    Failed {
        at_ms: u64,
    },
}

impl JwksCache {
    /// A cache without keys.
    #[must_use]
    pub const fn new(settings: CacheSettings) -> Self {
        Self { settings, keys: None, fetch: FetchState::Never, tickets: 0 }
    }

    /// What there is to do for a token with this key id, or with none.
    pub fn lookup(&mut self, kid: Option<&str>, now_ms: u64) -> Lookup {
        self.expire(now_ms);
        let Some(keys) = &self.keys else { return self.lookup_without_keys(now_ms) };
        let is_known = kid.is_none_or(|kid| keys.set.has_kid(kid));
        let is_fresh = age_ms(keys.fetched_at_ms, now_ms) < self.settings.ttl_ms;
        let interval_ms =
            if is_known { self.settings.retry_ms } else { self.settings.refetch_interval_ms };
        match self.fetch {
            FetchState::UnderWay { since_ms, .. } if !is_known => self.wait(since_ms),
            FetchState::UnderWay { .. } => Lookup::Use(Arc::clone(&keys.set)),
            _ if is_known && is_fresh => Lookup::Use(Arc::clone(&keys.set)),
            FetchState::Done { at_ms } | FetchState::Failed { at_ms }
                if age_ms(at_ms, now_ms) < interval_ms =>
            {
                Lookup::Use(Arc::clone(&keys.set))
            }
            FetchState::Never | FetchState::Done { .. } | FetchState::Failed { .. } => {
                self.start(now_ms)
            }
        }
    }

    /// Takes what a fetch has brought.
    pub fn fetched(&mut self, ticket: FetchTicket, keys: KeySet, now_ms: u64) {
        if self.is_under_way(ticket) {
            self.keys = Some(FetchedKeys { set: Arc::new(keys), fetched_at_ms: now_ms });
            self.fetch = FetchState::Done { at_ms: now_ms };
        }
    }

    /// Notes that a fetch failed. The keys from before stay.
    pub fn failed(&mut self, ticket: FetchTicket, now_ms: u64) {
        if self.is_under_way(ticket) {
            self.fetch = FetchState::Failed { at_ms: now_ms };
        }
    }

    /// Gives up a fetch that takes too long, and keys that are too old.
    fn expire(&mut self, now_ms: u64) {
        if let FetchState::UnderWay { since_ms, .. } = self.fetch
            && age_ms(since_ms, now_ms) >= self.settings.fetch_timeout_ms
        {
            self.fetch = FetchState::Failed { at_ms: now_ms };
        }
        let max_age_ms = self.settings.max_age_ms;
        self.keys.take_if(|keys| age_ms(keys.fetched_at_ms, now_ms) >= max_age_ms);
    }

    fn lookup_without_keys(&mut self, now_ms: u64) -> Lookup {
        match self.fetch {
            FetchState::UnderWay { since_ms, .. } => self.wait(since_ms),
            FetchState::Failed { at_ms } if age_ms(at_ms, now_ms) < self.settings.retry_ms => {
                Lookup::Unavailable { retry_at_ms: at_ms.saturating_add(self.settings.retry_ms) }
            }
            FetchState::Never | FetchState::Done { .. } | FetchState::Failed { .. } => {
                self.start(now_ms)
            }
        }
    }

    fn start(&mut self, now_ms: u64) -> Lookup {
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = FetchTicket(self.tickets);
        self.fetch = FetchState::UnderWay { ticket, since_ms: now_ms };
        Lookup::Fetch(ticket)
    }

    const fn wait(&self, since_ms: u64) -> Lookup {
        Lookup::Wait { until_ms: since_ms.saturating_add(self.settings.fetch_timeout_ms) }
    }

    fn is_under_way(&self, reported: FetchTicket) -> bool {
        matches!(self.fetch, FetchState::UnderWay { ticket, .. } if ticket == reported)
    }
}

const fn age_ms(since_ms: u64, now_ms: u64) -> u64 {
    now_ms.saturating_sub(since_ms)
}
