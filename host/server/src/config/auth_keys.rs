//! The keys of `[auth]`: what verifies tokens, made of what is configured.

use millrace_auth::{
    Algorithm, ConfigError, JwtKey, JwtVerifier, KeySet, PhoenixKeys, PhoenixVerifier, Verifier,
};

use super::auth::{AuthConfig, JwtConfig, JwtKeyConfig, PhoenixTokenConfig};
use crate::secret::Secret;

/// What verifies the tokens of an app.
#[derive(Clone, Debug)]
pub(crate) struct AuthKeys {
    /// The verifier with all keys that are configured.
    pub(crate) verifier: Verifier,
    /// The configured keys of JWTs, to see which tokens need no others.
    pub(crate) configured: KeySet,
}

impl AuthConfig {
    /// Makes the verifier of the secrets and keys as they are now.
    ///
    /// # Errors
    ///
    /// Text that begins with the key, and says what was found, what is allowed and what to do.
    pub(crate) fn keys(&self) -> Result<AuthKeys, String> {
        let mut verifier = Verifier::new().with_max_token_bytes(self.max_token_bytes);
        if let Some(config) = &self.phoenix_token {
            let keys = config.keys().map_err(|error| format!("auth.phoenix_token: {error}"))?;
            verifier = verifier.with_phoenix(PhoenixVerifier::new(keys, config.rules()));
        }
        let mut configured = KeySet::default();
        if let Some(config) = &self.jwt {
            configured = config.key_set()?;
            verifier = verifier.with_jwt(JwtVerifier::new(configured.clone(), config.rules()));
        }
        Ok(AuthKeys { verifier, configured })
    }

    /// All secrets and keys.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let secrets = self.phoenix_token.iter().flat_map(|config| &config.secrets);
        let keys = self.jwt.iter().flat_map(|config| &config.keys);
        secrets.chain(keys.flat_map(|key| key.secret.iter().chain(&key.public_key)))
    }
}

impl PhoenixTokenConfig {
    /// The keys of all secrets; the first one signs.
    pub(crate) fn keys(&self) -> Result<PhoenixKeys, ConfigError> {
        let secrets = self.secrets.iter().map(|secret| of_text(&secret.get()));
        PhoenixKeys::derive(&secrets.collect::<Vec<_>>(), &self.salt)
    }
}

impl JwtConfig {
    fn key_set(&self) -> Result<KeySet, String> {
        let keys = self.keys.iter().enumerate().map(|(index, key)| {
            key.key().map_err(|problem| format!("auth.jwt.keys[{index}]: {problem}"))
        });
        let keys = keys.collect::<Result<_, _>>()?;
        KeySet::new(keys).map_err(|error| format!("auth.jwt.keys: {error}"))
    }
}

impl JwtKeyConfig {
    /// The key, for its algorithm.
    fn key(&self) -> Result<JwtKey, ConfigError> {
        let key = match self.algorithm.parse()? {
            Algorithm::Hmac(algorithm) => JwtKey::hmac(algorithm, &self.secret()?)?,
            Algorithm::PublicKey(algorithm) => {
                let text = self.public_key.as_ref().map(Secret::get).unwrap_or_default();
                JwtKey::public(algorithm, &text)?
            }
        };
        match &self.kid {
            Some(kid) => key.with_kid(kid),
            None => Ok(key),
        }
    }

    /// The secret of an algorithm with HMAC; an empty one if it has none.
    pub(crate) fn secret(&self) -> Result<millrace_auth::Secret, ConfigError> {
        let text = self.secret.as_ref().map(Secret::get).unwrap_or_default();
        if self.base64 {
            return millrace_auth::Secret::from_base64(&text);
        }
        Ok(of_text(&text))
    }
}

fn of_text(text: &str) -> millrace_auth::Secret {
    millrace_auth::Secret::from_text(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::App;

    const PHOENIX: &str = "[auth.phoenix_token]\nsalt = \"user socket\"\n";
    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn load(text: &str) -> Result<App, String> {
        App::parse("/app".into(), text)
    }

    fn jwt(key: &str) -> String {
        format!("[[auth.jwt.keys]]\n{key}")
    }

    fn jwks(line: &str) -> String {
        format!("[auth.jwt.jwks]\nalgorithms = [\"RS256\"]\n{line}")
    }

    #[test]
    fn mistakes_name_the_key_what_was_found_and_what_is_allowed() {
        let url = "url = \"https://id.example.com/jwks.json\"\n";
        for (text, problem) in [
            ("[auth]", "auth has no keys; add [auth.phoenix_token] or [auth.jwt]"),
            ("[auth.jwt]", "auth.jwt has no keys; add [[auth.jwt.keys]] or [auth.jwt.jwks]"),
            ("[auth]\nparam = \"\"\n[auth.jwt]", "auth.param is \"\"; the name of a query"),
            (&format!("{PHOENIX}secrets = []"), "auth.phoenix_token.secrets has 0 secrets; 1 to"),
            (
                &format!("{PHOENIX}secrets = [\"x\"]\nmax_age_s = 0"),
                "auth.phoenix_token.max_age_s is 0, so that every token has expired",
            ),
            ("[auth.phoenix_token]\nsecrets = [\"x\"]", "auth.phoenix_token.salt is missing"),
            (&jwt("algorithm = \"none\""), "auth.jwt.keys[0].algorithm: the algorithm `none` is"),
            (&jwt("algorithm = \"HS256\""), "auth.jwt.keys[0] is for HS256, which needs `secret`"),
            (
                &jwt("algorithm = \"RS256\"\nsecret = \"x\""),
                "auth.jwt.keys[0] is for RS256, which needs `public_key` and no `secret`",
            ),
            (
                &format!("[auth.jwt]\nleeway_s = 3601\n{}", jwks(url)),
                "auth.jwt.leeway_s is 3601; 0 to 3600 are allowed",
            ),
            (&jwks("url = \"http://a.com/\""), "and http is allowed for this machine alone"),
            (&jwks("url = \"https://u:p@a.com/\""), "which has a user or a password"),
            (&jwks("url = \"jwks.json\""), "auth.jwt.jwks.url is \"jwks.json\", whose scheme"),
            (&jwks(&format!("{url}ttl_s = 0")), "auth.jwt.jwks.ttl_s is 0; at least 1"),
            (&jwks(&format!("{url}max_bytes = 0")), "auth.jwt.jwks.max_bytes is 0; 1 to 131072"),
            (
                &format!("[auth.jwt.jwks]\n{url}algorithms = [\"HS256\"]"),
                "auth.jwt.jwks.algorithms: HS256 has a secret, which nobody publishes",
            ),
            (
                &format!("[auth.jwt.jwks]\n{url}algorithms = []"),
                "auth.jwt.jwks.algorithms is empty; list those that",
            ),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        load(&jwks("url = \"http://127.0.0.1:1/keys\"")).unwrap();
    }

    #[test]
    fn secrets_are_not_shown_where_they_are_wrong() {
        for text in [
            format!("{PHOENIX}secrets = [7654321]"),
            jwt("algorithm = \"HS256\"\nsecret = 7654321"),
            jwt("algorithm = \"RS256\"\npublic_key = 7654321"),
        ] {
            let error = load(&text).unwrap_err();
            assert!(!error.contains("7654321"), "{error}");
        }
    }

    #[test]
    fn keys_are_read_when_the_app_is() {
        let folder = tempfile::tempdir().unwrap();
        let (path, secret) = (folder.path().join("millrace.toml"), folder.path().join("secret"));
        fs::write(&secret, KEY).unwrap();
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            App::load(&path).map_err(|error| error.to_string())
        };
        let text = jwt("algorithm = \"HS256\"\nsecret = { file = \"secret\" }");
        let app = read(&text).unwrap();
        assert_eq!(app.secrets_in_files()[0].0, "auth.jwt.keys[0].secret");
        assert_eq!(app.auth.unwrap().keys().unwrap().configured.keys().len(), 1);
        for (text, problem) in [
            (jwt("algorithm = \"HS512\"\nsecret = { file = \"secret\" }"), "has 32 bytes; at"),
            (jwt("algorithm = \"HS256\"\nsecret = { file = \"none\" }"), "cannot be read"),
            (jwt("algorithm = \"RS256\"\npublic_key = \"x\""), "the public key is neither PEM"),
            (
                jwt("algorithm = \"HS256\"\nsecret = \"-----BEGIN PUBLIC KEY-----\""),
                "the secret of an HS algorithm is a key in PEM",
            ),
            (format!("{PHOENIX}secrets = [\"short\"]"), "auth.phoenix_token: the secret of"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
