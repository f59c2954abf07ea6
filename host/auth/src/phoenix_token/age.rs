//! How long a Phoenix token is valid.

use super::DEFAULT_MAX_AGE_S;
use crate::Refusal;
use crate::etf::Term;

/// The longest age of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// An age in seconds. At 0, no token is valid.
    Seconds(u64),
    /// A token that does not expire, `:infinity` in Elixir.
    Infinite,
}

impl Default for MaxAge {
    fn default() -> Self {
        Self::Seconds(DEFAULT_MAX_AGE_S.into())
    }
}

/// An age as a token has it: `sign/4` takes fractions and, without complaint, what is below zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Age {
    /// An age in milliseconds.
    Ms(i128),
    /// An age of zero or below: no token is valid.
    Nothing,
    /// No end.
    Infinite,
}

impl From<MaxAge> for Age {
    fn from(max_age: MaxAge) -> Self {
        match max_age {
            MaxAge::Seconds(0) => Self::Nothing,
            MaxAge::Seconds(seconds) => Self::Ms(i128::from(seconds) * 1_000),
            MaxAge::Infinite => Self::Infinite,
        }
    }
}

impl Age {
    /// The age that the third element of a token's tuple is.
    ///
    /// # Errors
    ///
    /// The element is neither a number nor `:infinity`.
    pub(super) fn of_term(term: &Term<'_>) -> Result<Self, Refusal> {
        match term {
            Term::Integer(seconds) if *seconds <= 0 => Ok(Self::Nothing),
            Term::Integer(seconds) => Ok(Self::Ms(seconds.saturating_mul(1_000))),
            Term::Float(seconds) if *seconds <= 0.0 => Ok(Self::Nothing),
            // Casts of floats cut off fractions, and end at the bounds of the integer.
            Term::Float(seconds) => Ok(Self::Ms((seconds * 1_000.0) as i128)),
            Term::Atom(name) if name == "infinity" => Ok(Self::Infinite),
            Term::Atom(_) | Term::Binary(_) | Term::List(_) | Term::Tuple(_) | Term::Map(_) => {
                Err(Refusal::Malformed("the age of the token"))
            }
        }
    }

    /// The last millisecond, in Unix time, at which a token that was signed at a time is valid;
    /// `None` for never.
    pub(super) fn end_ms(self, signed_ms: i128) -> Option<i128> {
        match self {
            Self::Infinite => None,
            Self::Nothing => Some(signed_ms),
            Self::Ms(age_ms) => Some(signed_ms.saturating_add(age_ms)),
        }
    }

    /// The first millisecond, in Unix time, at which a token that was signed at a time is expired;
    /// `None` for never. As in plug_crypto, a token is valid at its very age, and one without an
    /// end may be of the future.
    ///
    /// # Errors
    ///
    /// It has expired, or was signed in the future.
    pub(super) fn check(self, signed_ms: i128, now_unix_ms: u64) -> Result<Option<u64>, Refusal> {
        let age_ms = match self {
            Self::Infinite => return Ok(None),
            Self::Nothing => return Err(Refusal::Expired),
            Self::Ms(age_ms) => age_ms,
        };
        if signed_ms > now_unix_ms.into() {
            return Err(Refusal::NotYetValid);
        }
        let expires_ms = signed_ms.saturating_add(age_ms).saturating_add(1);
        if expires_ms <= now_unix_ms.into() {
            return Err(Refusal::Expired);
        }
        // Greater than the time now, so it fits but for its size.
        Ok(Some(u64::try_from(expires_ms).unwrap_or(u64::MAX)))
    }
}
