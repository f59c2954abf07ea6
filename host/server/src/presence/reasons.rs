//! The reasons for which changes are left out, as the metric has them.

use millrace_presence::PresenceError;

/// The value of the tag `reason` of `presence.refused`.
pub(super) const fn reason(error: &PresenceError) -> &'static str {
    match error {
        PresenceError::AlreadyTracked => "tracked",
        PresenceError::NotTracked => "not_tracked",
        PresenceError::KeyEmpty | PresenceError::KeyTooLong { .. } => "key",
        PresenceError::MetaTooLarge { .. } | PresenceError::MetaNotObject { .. } => "meta",
        PresenceError::TooManyMetas { .. } => "max_metas",
        PresenceError::TooManyKeys { .. } => "max_keys",
    }
}
