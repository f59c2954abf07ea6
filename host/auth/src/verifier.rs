//! All that is configured to verify tokens with, as one value.

use smol_str::SmolStr;

use crate::jwt::{JwtVerifier, KeySet};
use crate::phoenix_token::{self, PhoenixVerifier};
use crate::{Identity, Refusal, TokenKind};

/// The length of a token at most unless configured otherwise, in bytes. Tokens travel in the
/// header of a request, of which servers and proxies take 8 KiB in all.
pub const DEFAULT_MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The kind of a token, and which key it asks for. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenForm {
    /// A token of `Phoenix.Token`.
    Phoenix,
    /// A JWT, with the id of its key.
    Jwt {
        /// The `kid` of the header.
        kid: Option<SmolStr>,
    },
}

/// A verifier of tokens of one or both kinds.
#[derive(Clone, Debug)]
pub struct Verifier {
    phoenix: Option<PhoenixVerifier>,
    jwt: Option<JwtVerifier>,
    max_token_bytes: usize,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// A verifier that refuses every token, until it is given keys.
    #[must_use]
    pub const fn new() -> Self {
        Self { phoenix: None, jwt: None, max_token_bytes: DEFAULT_MAX_TOKEN_BYTES }
    }

    /// The same verifier, which takes Phoenix tokens too.
    #[must_use]
    pub fn with_phoenix(mut self, phoenix: PhoenixVerifier) -> Self {
        self.phoenix = Some(phoenix);
        self
    }

    /// The same verifier, which takes JWTs too.
    #[must_use]
    pub fn with_jwt(mut self, jwt: JwtVerifier) -> Self {
        self.jwt = Some(jwt);
        self
    }

    /// The same verifier with another limit on the length of a token, in bytes.
    #[must_use]
    pub const fn with_max_token_bytes(mut self, max_token_bytes: usize) -> Self {
        self.max_token_bytes = max_token_bytes;
        self
    }

    /// The kind of a token, as its first part tells: a Phoenix token begins with the bare name of
    /// its algorithm, which is no JSON object and so never the header of a JWT. What is not the
    /// one is read as the other, and a token refused as one kind is not tried as the other.
    ///
    /// # Errors
    ///
    /// The token is too long, of a kind that is not configured, or its header is malformed.
    pub fn form(&self, token: &str) -> Result<TokenForm, Refusal> {
        self.check_length(token)?;
        match kind(token) {
            TokenKind::Phoenix => self.phoenix().map(|_| TokenForm::Phoenix),
            TokenKind::Jwt => {
                let kid = self.jwt()?.key_id(token)?;
                Ok(TokenForm::Jwt { kid })
            }
        }
    }

    /// Verifies a token at a time, in milliseconds of Unix time.
    ///
    /// # Errors
    ///
    /// The token is refused; the [`Refusal`] says why.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Identity, Refusal> {
        self.verify_in(token, None, now_unix_ms)
    }

    /// Verifies a token with fetched keys besides those that are configured.
    ///
    /// # Errors
    ///
    /// The token is refused; the [`Refusal`] says why.
    pub fn verify_with_keys(
        &self,
        token: &str,
        fetched: &KeySet,
        now_unix_ms: u64,
    ) -> Result<Identity, Refusal> {
        self.verify_in(token, Some(fetched), now_unix_ms)
    }

    fn verify_in(
        &self,
        token: &str,
        fetched: Option<&KeySet>,
        now_unix_ms: u64,
    ) -> Result<Identity, Refusal> {
        self.check_length(token)?;
        match kind(token) {
            TokenKind::Phoenix => self.phoenix()?.verify(token, now_unix_ms),
            TokenKind::Jwt => self.jwt()?.verify(token, fetched, now_unix_ms),
        }
    }

    const fn check_length(&self, token: &str) -> Result<(), Refusal> {
        let (bytes, max) = (token.len(), self.max_token_bytes);
        if bytes > max { Err(Refusal::TooLarge { bytes, max }) } else { Ok(()) }
    }

    fn phoenix(&self) -> Result<&PhoenixVerifier, Refusal> {
        self.phoenix.as_ref().ok_or(Refusal::KindNotAccepted(TokenKind::Phoenix))
    }

    fn jwt(&self) -> Result<&JwtVerifier, Refusal> {
        self.jwt.as_ref().ok_or(Refusal::KindNotAccepted(TokenKind::Jwt))
    }
}

fn kind(token: &str) -> TokenKind {
    let first = token.split('.').next().unwrap_or_default();
    if phoenix_token::is_protected_header(first) { TokenKind::Phoenix } else { TokenKind::Jwt }
}
