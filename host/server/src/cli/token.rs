//! `millrace token`: tokens for development, made and read.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use millrace_auth::{
    HmacAlgorithm, JwtSigner, PhoenixKeys, Secret, TokenKind, Unverified, read_unverified,
};
use millrace_telemetry::{Metrics, unix_ms};
use millrace_wasm::ConnectRequest;
use serde_json::{Map, Value};

use super::duration::duration;
use super::say;
use crate::auth::{Auth, DEV_KID, Signer, Wanted};
use crate::config::{App, AuthConfig, Environment};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token, and print it alone on a line.
    ///
    /// It is of the first kind that the app's `[auth]` can sign: a Phoenix token, or a JWT
    /// with the first key that has a secret.
    #[command(after_help = "\
Examples:
  millrace token make examples/chat --user ada
  millrace token make --user 42 --claims '{\"role\": \"admin\"}' --expires-in 30m
  millrace token make --secret \"$SECRET_KEY_BASE\" --salt 'user socket' --user ada")]
    Make(MakeArgs),
    /// Say what a token says, and whether an app takes it.
    ///
    /// Exits with 1 if the app refuses it. Without an app, nothing is verified.
    #[command(after_help = "\
Examples:
  millrace token read eyJhbGciOi… examples/chat
  millrace token read SFMyNTY.g2gDbQAAAANhZGFuBgAAcMLHmgFiAAFRgA.oPcwDykNFkvb…")]
    Read {
        /// The token.
        token: String,
        /// The app's folder or its millrace.toml (default: this folder, if it is one).
        #[arg(value_name = "DIR|FILE")]
        app: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct MakeArgs {
    /// The app's folder or its millrace.toml.
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    app: PathBuf,
    /// The user id.
    #[arg(long)]
    user: Option<String>,
    /// More claims, or more of the data of a Phoenix token: a JSON object.
    #[arg(long, value_name = "JSON", value_parser = claims)]
    claims: Option<Map<String, Value>>,
    /// For how long it is valid, as in 30s, 15m or 12h.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1h")]
    expires_in: Duration,
    /// A secret to sign with, instead of the app's: a Phoenix token with --salt, and else a
    /// JWT with HS256.
    #[arg(long, value_name = "TEXT", env = "MILLRACE_DEV_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// The salt of a Phoenix token.
    #[arg(long, value_name = "TEXT", requires = "secret")]
    salt: Option<String>,
}

/// Runs one of the commands.
pub(super) async fn run(command: &TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Make(args) => {
            say(&make(args)?);
            Ok(())
        }
        TokenCommand::Read { token, app } => read(token, app.as_deref()).await,
    }
}

fn make(args: &MakeArgs) -> anyhow::Result<String> {
    let wanted = Wanted {
        user: args.user.clone(),
        claims: args.claims.clone().unwrap_or_default(),
        expires_in_s: args.expires_in.as_secs(),
    };
    if wanted.user.is_none() && wanted.claims.is_empty() {
        bail!("the token would name nobody; give --user, --claims or both");
    }
    let signer = match &args.secret {
        Some(secret) => signer_of_secret(args, secret)?,
        None => Signer::of(&auth_of(&args.app)?).map_err(|problem| anyhow!(problem))?,
    };
    signer.sign(wanted, unix_ms()).map_err(|problem| anyhow!(problem))
}

/// The signer of a secret that the command line has. With the one of `millrace dev`, the token is
/// one that the app takes there.
fn signer_of_secret(args: &MakeArgs, secret: &str) -> anyhow::Result<Signer> {
    if args.salt.is_none()
        && let Ok(auth) = auth_of(&args.app)
    {
        return Signer::of_dev(&auth, secret).map_err(|problem| anyhow!(problem));
    }
    let secret = Secret::from_text(secret);
    let Some(salt) = &args.salt else {
        let signer = Box::new(JwtSigner::new(HmacAlgorithm::Hs256, &secret, None)?);
        return Ok(Signer::Jwt { signer, claims: Map::new(), user_id: "sub".to_owned() });
    };
    let keys = PhoenixKeys::derive(&[secret], salt)?;
    Ok(Signer::Phoenix { keys: Box::new(keys), user_id: "user_id".to_owned() })
}

/// Prints the content of a token, and whether the app takes it.
async fn read(token: &str, app: Option<&Path>) -> anyhow::Result<()> {
    let now_ms = unix_ms();
    match read_unverified(token) {
        Ok(content) => lines(&content, now_ms).iter().for_each(|line| say(line)),
        Err(problem) => say(&format!("cannot be read: {problem}")),
    }
    let auth = match app {
        Some(app) => auth_of(app)?,
        None => match auth_of(Path::new(".")) {
            Ok(auth) => auth,
            Err(_) => {
                say("not verified: give an app with [auth]");
                return Ok(());
            }
        },
    };
    say(&accepted(token, &auth).await?);
    Ok(())
}

/// The line about a token that an app takes.
///
/// # Errors
///
/// The app refuses it.
async fn accepted(token: &str, auth: &AuthConfig) -> anyhow::Result<String> {
    let auth = Auth::new(Some(auth), &Metrics::none()).map_err(|problem| anyhow!(problem))?;
    let auth_token = Some(token.to_owned());
    match auth.verify(&ConnectRequest { auth_token, ..ConnectRequest::default() }).await {
        Ok(verified) => {
            let user_id = verified.and_then(|verified| verified.user_id);
            let user = user_id.map_or("no user id".to_owned(), |user| format!("user id {user:?}"));
            Ok(format!("accepted: {user}"))
        }
        Err(refusal) => bail!("refused: {refusal}"),
    }
}

/// The lines about a token: its kind, header, claims and times.
fn lines(content: &Unverified, now_ms: u64) -> Vec<String> {
    let Unverified { kind, header, claims, signed_at_unix_ms, expires_at_unix_ms } = content;
    let mut lines = vec![kind.to_string()];
    if *kind == TokenKind::Jwt {
        lines.push(format!("header: {}", Value::Object(header.clone())));
    }
    let what = if *kind == TokenKind::Jwt { "claims" } else { "data" };
    lines.push(format!("{what}: {claims}"));
    if let Some(at_ms) = signed_at_unix_ms {
        lines.push(format!("signed: {}", date(*at_ms)));
    }
    lines.push(match expires_at_unix_ms {
        None => "expires: never".to_owned(),
        Some(at_ms) if *at_ms <= now_ms => format!("expired: {}", date(*at_ms)),
        Some(at_ms) => format!("expires: {}", date(*at_ms)),
    });
    if header.get("kid").is_some_and(|kid| kid == DEV_KID) {
        lines.push("it is signed with a development secret".to_owned());
    }
    lines
}

/// A time, for people.
fn date(at_ms: u64) -> String {
    // The last second of the year 9999; what is later has no date here.
    const MAX_MS: u64 = 253_402_300_799_000;
    match at_ms {
        ..=MAX_MS => httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(at_ms)),
        _ => format!("{at_ms} ms after 1970"),
    }
}

/// The `[auth]` of an app.
fn auth_of(app: &Path) -> anyhow::Result<AuthConfig> {
    let loaded = App::load_with(app, &Environment::of_process(false))?;
    let none = || anyhow!("{} has no [auth] in its millrace.toml; add it", app.display());
    loaded.auth.ok_or_else(none)
}

/// Reads the claims of the command line.
fn claims(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| {
        format!(
            "{text:?} is no JSON object ({error}); one such as {{\"role\": \"admin\"}} is expected"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KEY: &str = "millrace-test-key-0123456789abcdef";

    fn app(auth: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("millrace.toml");
        fs::write(&path, auth).unwrap();
        (folder, path)
    }

    fn wants(app: &Path) -> MakeArgs {
        MakeArgs {
            app: app.to_owned(),
            user: Some("ada".to_owned()),
            claims: None,
            expires_in: Duration::from_secs(60),
            secret: None,
            salt: None,
        }
    }

    #[tokio::test]
    async fn what_is_made_for_an_app_is_taken_by_it() {
        let phoenix = "[auth.phoenix_token]\nsalt = \"s\"\nsecrets = [\"xxxxxxxxxxxxxxxxxxxx\"]";
        let jwt = format!(
            "[auth.jwt]\naudiences = [\"millrace\"]\nissuers = [\"a\", \"b\"]\n\
             [[auth.jwt.keys]]\nalgorithm = \"HS256\"\nkid = \"k\"\nsecret = \"{KEY}\""
        );
        for (text, kind) in [(phoenix, TokenKind::Phoenix), (&jwt, TokenKind::Jwt)] {
            let (_folder, path) = app(text);
            let auth = auth_of(&path).unwrap();
            let token = make(&wants(&path)).unwrap();
            assert_eq!(read_unverified(&token).unwrap().kind, kind);
            let told = accepted(&token, &auth).await.unwrap();
            assert_eq!(told, "accepted: user id \"ada\"");
            let claims = claims("{\"role\": \"admin\"}").ok();
            let token = make(&MakeArgs { claims, ..wants(&path) }).unwrap();
            accepted(&token, &auth).await.unwrap();
            assert_eq!(read_unverified(&token).unwrap().claims["role"], "admin");
            let other = MakeArgs { secret: Some("x".repeat(64)), ..wants(&path) };
            let error = accepted(&make(&other).unwrap(), &auth).await.unwrap_err();
            assert!(error.to_string().starts_with("refused: "), "{error}");
            let old = MakeArgs { expires_in: Duration::ZERO, ..wants(&path) };
            let outcome = accepted(&make(&old).unwrap(), &auth).await;
            // Clocks of a JWT may differ by `leeway_s`.
            assert_eq!(outcome.is_err(), kind == TokenKind::Phoenix);
        }
    }

    #[test]
    fn a_secret_needs_no_app() {
        let secret = Some("x".repeat(64));
        let without = MakeArgs { secret, ..wants(Path::new("/nowhere")) };
        let jwt = read_unverified(&make(&without).unwrap()).unwrap();
        assert_eq!((jwt.kind, &jwt.claims["sub"]), (TokenKind::Jwt, &Value::from("ada")));
        let phoenix = MakeArgs { salt: Some("s".to_owned()), ..without };
        assert_eq!(read_unverified(&make(&phoenix).unwrap()).unwrap().claims, "ada");
    }

    #[test]
    fn what_cannot_be_signed_is_told() {
        let (_folder, path) =
            app("[auth.jwt.jwks]\nurl = \"https://a.com\"\nalgorithms = [\"RS256\"]");
        let told = |args| make(&args).unwrap_err().to_string();
        assert!(told(wants(&path)).contains("with public keys nothing can be signed"));
        assert!(told(MakeArgs { user: None, ..wants(&path) }).contains("give --user"));
        let (_folder, path) = app("");
        assert!(told(wants(&path)).contains("has no [auth]"));
        assert!(claims("[1]").unwrap_err().contains("is no JSON object"));
    }

    #[test]
    fn a_token_is_read_for_people() {
        let token = "SFMyNTY.g2gDbQAAAANhZGFuBgAAcMLHmgFiAAFRgA.\
                     oPcwDykNFkvb68ASm9GHyUeWpBIHyu3aD9R739-XoMo";
        let content = read_unverified(token).unwrap();
        let expected = [
            "Phoenix.Token",
            "data: \"ada\"",
            "signed: Fri, 28 Nov 2025 00:00:00 GMT",
            "expired: Sat, 29 Nov 2025 00:00:00 GMT",
        ];
        assert_eq!(lines(&content, u64::MAX), expected);
        assert!(date(u64::MAX).ends_with(" ms after 1970"));
    }
}
