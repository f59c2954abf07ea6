//! The claims of a token whose signature is right.

use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::identity::user_id;
use crate::{Identity, Refusal};

/// The last second of the year 9999. What is above is no time in seconds: often, milliseconds.
const MAX_TIME_S: u64 = 253_402_300_799;

/// What is demanded of a token besides its signature. `iat` is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRules {
    /// The issuers, one of which `iss` has to be. If there are none, any issuer will do.
    pub issuers: Vec<String>,
    /// The audiences, one of which `aud` has to have. If there are none, a token with an `aud`
    /// is refused: it is for somebody else (RFC 7519, section 4.1.3).
    pub audiences: Vec<String>,
    /// The time by which clocks may differ, in seconds.
    pub leeway_s: u32,
    /// Whether `exp` has to be there.
    pub require_expiry: bool,
    /// The name of the claim that is the user id: a string or an integer. A token without it
    /// has none.
    pub user_id_claim: SmolStr,
}

impl Default for JwtRules {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_s: 30,
            require_expiry: true,
            user_id_claim: SmolStr::new_static("sub"),
        }
    }
}

impl JwtRules {
    /// Who the client of these claims is.
    ///
    /// # Errors
    ///
    /// A claim is missing, malformed, or not what is demanded.
    pub(super) fn check(
        &self,
        claims: Map<String, Value>,
        now_unix_ms: u64,
    ) -> Result<Identity, Refusal> {
        let expires_at_unix_ms = self.check_times(&claims, now_unix_ms)?;
        self.check_issuer(claims.get("iss"))?;
        self.check_audience(claims.get("aud"))?;
        let user_id = claims.get(self.user_id_claim.as_str()).map_or(Ok(None), user_id)?;
        Ok(Identity { user_id, claims: Value::Object(claims), expires_at_unix_ms })
    }

    fn check_times(
        &self,
        claims: &Map<String, Value>,
        now_unix_ms: u64,
    ) -> Result<Option<u64>, Refusal> {
        let leeway_ms = u64::from(self.leeway_s) * 1_000;
        let not_before_ms = time_ms(claims, "nbf")?;
        let expires_ms = time_ms(claims, "exp")?.map(|expires_ms| expires_ms + leeway_ms);
        match expires_ms {
            None if self.require_expiry => return Err(Refusal::MissingClaim("exp")),
            Some(expires_ms) if now_unix_ms >= expires_ms => return Err(Refusal::Expired),
            None | Some(_) => {}
        }
        if not_before_ms
            .is_some_and(|not_before| now_unix_ms < not_before.saturating_sub(leeway_ms))
        {
            return Err(Refusal::NotYetValid);
        }
        Ok(expires_ms)
    }

    fn check_issuer(&self, issuer: Option<&Value>) -> Result<(), Refusal> {
        match issuer {
            None if self.issuers.is_empty() => Ok(()),
            None => Err(Refusal::MissingClaim("iss")),
            Some(Value::String(issuer)) => {
                let is_known = self.issuers.is_empty() || self.issuers.contains(issuer);
                if is_known { Ok(()) } else { Err(Refusal::WrongIssuer) }
            }
            Some(_) => Err(Refusal::BadClaim("iss")),
        }
    }

    fn check_audience(&self, audience: Option<&Value>) -> Result<(), Refusal> {
        let names = match audience {
            None if self.audiences.is_empty() => return Ok(()),
            None => return Err(Refusal::MissingClaim("aud")),
            Some(Value::Array(names)) => names.as_slice(),
            Some(name) => std::slice::from_ref(name),
        };
        let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
        let names = names.ok_or(Refusal::BadClaim("aud"))?;
        if names.iter().any(|name| self.audiences.iter().any(|audience| audience == name)) {
            Ok(())
        } else {
            Err(Refusal::WrongAudience)
        }
    }
}

/// A claim that is a time, in milliseconds: whole seconds, from 1970 to the year 9999.
///
/// # Errors
///
/// The claim is of another type, has a fraction, or is out of range.
fn time_ms(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Refusal> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let seconds = claim.as_u64().filter(|seconds| *seconds <= MAX_TIME_S);
    seconds.map(|seconds| Some(seconds * 1_000)).ok_or(Refusal::BadClaim(name))
}
