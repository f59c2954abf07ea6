//! The access to the admin interface: no page that a browser was lured to may ask, and nobody
//! without the token.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONNECTION, HeaderMap, HeaderValue, ORIGIN, VARY,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Response, StatusCode};

use super::Problem;
use crate::config::{AdminConfig, host_of, is_loopback_name};
use crate::http::{self, Body};
use crate::token;

/// Checks where a request was sent to and which page sent it.
///
/// A page of any site can make its name lead to 127.0.0.1 and then ask as if this were its own
/// server (DNS rebinding); but it cannot choose another `Host`. Off loopback there is a token,
/// which no page knows.
///
/// # Errors
///
/// The problem, with status 403.
pub(super) fn check_page(
    config: &AdminConfig,
    host: Option<&str>,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let host = host.unwrap_or_default();
    if config.listen.ip().is_loopback() && !is_loopback_name(host_of(host)) {
        let text = format!("the request is for the host {host:?}; this server is on loopback only");
        let problem = Problem::new(StatusCode::FORBIDDEN, text);
        let allowed = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
        return Err(problem.allowed(allowed).advice("a proxy in front has to set Host"));
    }
    match origin(headers) {
        Some(origin) if !allows(config, origin) => {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            let text = format!("pages of {origin:?} may not ask here");
            let advice = "list its origin in admin.allow_origin if they may";
            Err(Problem::new(StatusCode::FORBIDDEN, text).advice(advice))
        }
        _ => Ok(()),
    }
}

/// Checks the token, if one is configured.
///
/// # Errors
///
/// The problem, with status 401.
pub(super) fn check_token(config: &AdminConfig, headers: &HeaderMap) -> Result<(), Problem> {
    let given = token::bearer(headers);
    if token::admits(config.token.as_ref(), given) {
        return Ok(());
    }
    let found = if given.is_some() { "the token is wrong" } else { "no token was given" };
    let text = format!("{found}; authorization: Bearer … is expected");
    let advice = "give admin.token; with the command: --token or MILLRACE_ADMIN_TOKEN";
    Err(Problem::new(StatusCode::UNAUTHORIZED, text).advice(advice))
}

/// The answer to a browser that asks whether a page of another origin may ask (the preflight
/// request of CORS).
pub(super) fn preflight(methods: &[Method]) -> Response<Body> {
    let mut response = http::options(methods);
    let headers = response.headers_mut();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Adds the headers for browsers that every answer has.
pub(super) fn finish(
    config: &AdminConfig,
    request_headers: &HeaderMap,
    response: &mut Response<Body>,
) {
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    http::add_security_headers(headers);
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"millrace\""));
        // A stranger's place is for another one.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(origin) = origin(request_headers).filter(|origin| allows(config, origin)) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
}

fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(ORIGIN)
}

fn allows(config: &AdminConfig, origin: &HeaderValue) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    config.allow_origin.iter().any(|pattern| pattern.matches_header(origin))
}
