//! The client of a running server's admin interface.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use rustls::{CertificateError, InvalidMessage};
use serde_json::Value;

use millrace_wasm::egress::tls_config;

/// Which server, and how its answers are printed.
#[derive(Clone, Debug, Args)]
pub(super) struct AdminArgs {
    /// The server's admin interface: `HOST:PORT`, `:PORT`, `http://HOST:PORT` or
    /// `https://HOST:PORT`.
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "MILLRACE_ADMIN",
        default_value = DEFAULT_ADMIN,
        value_parser = admin_url
    )]
    admin: Uri,
    /// Its `admin.token`, if it has one.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "MILLRACE_ADMIN_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// Print JSON, one object in each line, instead of a table.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// The admin interface's address by default.
const DEFAULT_ADMIN: &str = "http://127.0.0.1:4001";

/// The time in which a request must be answered; longer than any answer takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

impl AdminArgs {
    /// The server's URL, without a `/` at its end.
    pub(super) fn url(&self) -> String {
        self.admin.to_string().trim_end_matches('/').to_owned()
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.request(Method::GET, path, None).await
    }

    /// Sends a request, with a JSON body if there is one, and returns the response's JSON.
    ///
    /// # Errors
    ///
    /// The server is not reached, does not answer within [`REQUEST_TIMEOUT`], or answers with an
    /// error.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url());
        let mut request = Request::builder().method(method).uri(&url);
        if let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)))?;
        let answer = async {
            let client = client();
            let response =
                client.request(request).await.map_err(|error| self.unreachable(&error))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.with_context(|| format!("{url} broke off"))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let timeout = REQUEST_TIMEOUT.as_secs();
        let response: anyhow::Result<_> = tokio::time::timeout(REQUEST_TIMEOUT, answer)
            .await
            .map_err(|_| anyhow!("{url} did not answer within {timeout} s"))?;
        parse_response(&url, &response?)
    }

    /// Uploads a component, and calls `on_line` with each line of the response as it comes.
    pub(super) async fn upload(
        &self,
        path: &str,
        component: Bytes,
        mut on_line: impl FnMut(&Value),
    ) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.url());
        let mut request = Request::post(&url).header(CONTENT_TYPE, "application/wasm");
        if let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(component))?;
        let client = client();
        let response = client.request(request).await.map_err(|error| self.unreachable(&error))?;
        let (head, mut body) = response.into_parts();
        if !head.status.is_success() {
            let body = body.collect().await.with_context(|| format!("{url} broke off"))?;
            return parse_response(&url, &Response::from_parts(head, body.to_bytes())).map(|_| ());
        }
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.with_context(|| format!("{url} broke off"))?;
            rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                on_line(&serde_json::from_slice(&line)?);
            }
        }
        Ok(())
    }

    fn unreachable(&self, error: &legacy::Error) -> anyhow::Error {
        if let Some(problem) = tls_cause(error).and_then(|error| self.without_tls(error)) {
            return anyhow!("{problem}");
        }
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        anyhow!(
            "failed to reach {}: {cause}; is the server running, with [admin] in its millrace.toml \
             or --admin? Another address is given with --admin or MILLRACE_ADMIN",
            self.url()
        )
    }

    /// What is wrong when TLS cannot be spoken with the server, and what to do about it; `None` for
    /// other errors of TLS.
    fn without_tls(&self, error: &rustls::Error) -> Option<String> {
        let url = self.url();
        let untrusted = match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                let address = url.trim_start_matches("https://");
                return Some(format!("no TLS is spoken at {address}; ask with http://"));
            }
            rustls::Error::InvalidCertificate(untrusted) => untrusted,
            _ => return None,
        };
        let why = match untrusted {
            CertificateError::UnknownIssuer => {
                "it is of an unknown issuer; name the issuer's with SSL_CERT_FILE=ca.pem".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is of another name; ask by a name that is in it".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired; renew it".to_owned()
            }
            other => other.to_string(),
        };
        Some(format!("the certificate of {url} is not trusted: {why}"))
    }
}

/// The error of TLS among the causes of an error, if there is one.
fn tls_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = error;
    loop {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        // `source` of an I/O error skips the error that it wraps, so that one is taken.
        cause = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => inner,
            None => cause.source()?,
        };
    }
}

/// A client for HTTP, and for TLS with the machine's own root certificates (or those in
/// `SSL_CERT_FILE`).
fn client() -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let https = HttpsConnectorBuilder::new().with_tls_config(tls_config());
    let https = https.https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(https)
}

/// The JSON of a successful response. The error says what went wrong.
fn parse_response(url: &str, response: &Response<Bytes>) -> anyhow::Result<Value> {
    let (status, body) = (response.status(), response.body());
    let json = serde_json::from_slice::<Value>(body);
    match (status.is_success(), json) {
        (true, Ok(json)) => Ok(json),
        (false, Ok(problem)) => {
            bail!("{url} answered {status}: {}", problem_text(status, &problem))
        }
        (_, Err(_)) => bail!(
            "{url} answered {status} with no JSON: {:?}; is this the admin interface? The server \
             prints its address at its start",
            String::from_utf8_lossy(body).trim().chars().take(100).collect::<String>()
        ),
    }
}

/// The text of a problem: what was found, and what to do.
fn problem_text(status: StatusCode, problem: &Value) -> String {
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    let detail = text("detail").or(status.canonical_reason()).unwrap_or_default();
    match text("advice") {
        Some(advice) => format!("{detail}; {advice}"),
        None => detail.to_owned(),
    }
}

/// Reads the address of an admin interface.
fn admin_url(text: &str) -> Result<Uri, String> {
    // An empty environment variable counts as not set.
    let text = if text.is_empty() { DEFAULT_ADMIN } else { text };
    let expected = || format!("{text:?} is no address; one such as 127.0.0.1:4001 is expected");
    let (scheme, host) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), host)) => (scheme, host),
        Some(_) => return Err(expected()),
        None => ("http", text),
    };
    let host = host.trim_end_matches('/');
    let host = if host.starts_with(':') { format!("127.0.0.1{host}") } else { host.to_owned() };
    let uri: Uri = format!("{scheme}://{host}").parse().map_err(|_| expected())?;
    let plain = uri.path() == "/" && uri.query().is_none() && uri.port_u16().is_some();
    plain.then_some(uri).ok_or_else(expected)
}

/// Reads the address on which a server listens for operators, in the forms that [`admin_url`]
/// takes.
pub(super) fn listen_for_operators(text: &str) -> Result<SocketAddr, String> {
    let plain = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    super::args::listen_address(plain)
}

/// Reads a name of `millrace.toml`.
pub(super) fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("a name has letters, digits, `-` and `_`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_as_is_convenient() {
        for (text, url) in [
            (":4001", "http://127.0.0.1:4001/"),
            ("localhost:4001", "http://localhost:4001/"),
            ("http://[::1]:4001/", "http://[::1]:4001/"),
        ] {
            assert_eq!(admin_url(text).unwrap().to_string(), url);
        }
        assert_eq!(admin_url(""), admin_url(DEFAULT_ADMIN));
        assert_eq!(admin_url("https://a:1").unwrap().to_string(), "https://a:1/");
        for text in ["localhost", "ftp://a:1", "http://a:1/b", "a:1?b", "a b:1", "a:99999"] {
            assert!(admin_url(text).is_err(), "{text}");
        }
    }
}
