//! The secret of `millrace dev`, with which an author makes tokens without those of the app.

use anyhow::bail;
use millrace_telemetry::unix_ms;
use serde_json::Map;

use super::say;
use crate::auth::{Signer, Wanted};
use crate::config::{App, AuthConfig};

/// The variable that fixes the secret.
const VARIABLE: &str = "MILLRACE_DEV_SECRET";
/// The random bytes of a secret that is drawn.
const RANDOM_BYTES: usize = 32;
/// The least length of a secret in bytes, which HS256 asks for.
const MIN_BYTES: usize = 32;
/// The user of the token that is told at the start.
const USER: &str = "ada";
/// The time in seconds for which that token is valid: a day of work.
const EXPIRES_IN_S: u64 = 86_400;

/// The secret of one run of `millrace dev`.
#[derive(Clone)]
pub(super) struct DevSecret(String);

impl DevSecret {
    /// The secret of the environment, or else a random one.
    ///
    /// # Errors
    ///
    /// The one of the environment is too short, or the system has no random bytes.
    pub(super) fn new() -> anyhow::Result<Self> {
        Self::of(std::env::var(VARIABLE).unwrap_or_default())
    }

    fn of(text: String) -> anyhow::Result<Self> {
        if text.is_empty() {
            let mut bytes = [0; RANDOM_BYTES];
            getrandom::fill(&mut bytes)?;
            return Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()));
        }
        if text.len() < MIN_BYTES {
            let found = text.len();
            bail!(
                "{VARIABLE} has {found} bytes; at least {MIN_BYTES} are needed: give a longer \
                 one, or none, and one is drawn"
            );
        }
        Ok(Self(text))
    }

    /// Has the app take tokens that are signed with the secret, if it takes tokens at all.
    pub(super) fn accept_in(&self, app: &mut App) {
        app.auth.iter_mut().for_each(|auth| Signer::accept(auth, &self.0));
    }

    /// Prints a token that is ready to be used.
    pub(super) fn tell(&self, app: &App) {
        if let Some(token) = app.auth.as_ref().and_then(|auth| self.token(auth)) {
            say(&format!("a development token for user {USER}: {token}"));
        }
    }

    fn token(&self, auth: &AuthConfig) -> Option<String> {
        let signer = Signer::of_dev(auth, &self.0).ok()?;
        let user = Some(USER.to_owned());
        let wanted = Wanted { user, claims: Map::new(), expires_in_s: EXPIRES_IN_S };
        signer.sign(wanted, unix_ms()).ok()
    }
}

#[cfg(test)]
mod tests {
    use millrace_telemetry::Metrics;
    use millrace_wasm::ConnectRequest;

    use super::*;
    use crate::auth::Auth;

    #[tokio::test]
    async fn its_token_is_taken_whatever_the_app_is_configured_with() {
        for text in [
            "[auth.phoenix_token]\nsalt = \"s\"\nsecrets = [\"xxxxxxxxxxxxxxxxxxxx\"]",
            // Nobody listens there: no other key is needed.
            "[auth.jwt]\naudiences = [\"a\"]\n[auth.jwt.jwks]\nurl = \"http://127.0.0.1:1/\"\n\
             algorithms = [\"ES256\"]",
        ] {
            let mut app = App::parse("/app".into(), text).unwrap();
            let secret = DevSecret::of(String::new()).unwrap();
            secret.accept_in(&mut app);
            let config = app.auth.unwrap();
            let auth = Auth::new(Some(&config), &Metrics::none()).unwrap();
            let shows = async |secret: &DevSecret| {
                let auth_token = secret.token(&config);
                auth.verify(&ConnectRequest { auth_token, ..ConnectRequest::default() }).await
            };
            assert_eq!(shows(&secret).await.unwrap().unwrap().user_id.as_deref(), Some(USER));
            let other = DevSecret::of("y".repeat(MIN_BYTES)).unwrap();
            assert!(shows(&other).await.is_err(), "{text}");
        }
    }

    #[test]
    fn a_short_one_is_told_of() {
        let error = DevSecret::of("short".to_owned()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("MILLRACE_DEV_SECRET has 5 bytes; at least 32"), "{error}");
    }
}
