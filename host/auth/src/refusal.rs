//! Why a token is refused: for the log, and as the tag of a metric.

use std::fmt;

/// The two kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A token of `Phoenix.Token.sign/4`.
    Phoenix,
    /// A JSON Web Token, signed, in compact form.
    Jwt,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Phoenix => "Phoenix.Token",
            Self::Jwt => "JWT",
        })
    }
}

/// The reason why a token is refused. Its text is for the log of the server, not for the client,
/// and never has a part of the token: variants carry numbers and fixed texts alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token is longer than is allowed.
    #[error("the token has {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// The length of the token, in bytes.
        bytes: usize,
        /// The configured limit, in bytes.
        max: usize,
    },
    /// The token, or what is signed in it, has not the form that its kind has.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The token is of a kind for which no keys are configured.
    #[error("the token is a {0}, for which no keys are configured")]
    KindNotAccepted(TokenKind),
    /// The header names an algorithm that the key is not for, or none at all.
    #[error("no configured key is for the algorithm that the token names")]
    WrongAlgorithm,
    /// The header has `crit`: extensions that whoever does not know them must refuse.
    #[error("the token demands extensions (`crit`), of which none is supported")]
    CriticalHeader,
    /// No key has the `kid` of the header.
    #[error("no key has the id (`kid`) that the token names")]
    UnknownKey,
    /// The token has no `kid`, and there are more keys than are tried one by one.
    #[error(
        "the token names no key (`kid`), and {found} keys are for its algorithm; at most \
         {max} are tried"
    )]
    AmbiguousKey {
        /// The number of keys for the algorithm.
        found: usize,
        /// The number of keys that are tried.
        max: usize,
    },
    /// There are no keys at the moment: they could not be fetched.
    #[error("the keys could not be fetched, so no token can be verified")]
    KeysUnavailable,
    /// The signature is not one of any key that was tried.
    #[error("the signature is wrong: forged, damaged, or of a key that is not configured")]
    BadSignature,
    /// The token was valid until a time that is over.
    #[error("the token has expired")]
    Expired,
    /// The token is valid from a time that is to come. A clock may be wrong.
    #[error("the token is not valid yet; compare the clocks of signer and server")]
    NotYetValid,
    /// A claim that is required is not there.
    #[error("the token has no `{0}`, which is required")]
    MissingClaim(&'static str),
    /// A claim is of the wrong type or out of range.
    #[error("the claim `{0}` is malformed")]
    BadClaim(&'static str),
    /// The token is of an issuer that is not configured.
    #[error("the token is of an issuer (`iss`) that is not configured")]
    WrongIssuer,
    /// The token is meant for others.
    #[error("the token is for an audience (`aud`) that is not configured")]
    WrongAudience,
    /// The user id is neither text nor an integer, is empty or is too long.
    #[error("the user id is malformed: text of 1 to 255 bytes, or an integer, is allowed")]
    BadUserId,
    /// The data of a Phoenix token is something that JSON does not have.
    #[error("the data of the token cannot be JSON: {0}")]
    UnsupportedData(&'static str),
}

impl Refusal {
    /// A stable short name, for the tag of a metric.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed(_) => "malformed",
            Self::KindNotAccepted(_) => "kind_not_accepted",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::CriticalHeader => "critical_header",
            Self::UnknownKey => "unknown_key",
            Self::AmbiguousKey { .. } => "ambiguous_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::MissingClaim(_) => "missing_claim",
            Self::BadClaim(_) => "bad_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::BadUserId => "bad_user_id",
            Self::UnsupportedData(_) => "unsupported_data",
        }
    }
}
