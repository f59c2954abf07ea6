//! What answers over HTTP have in common, for clients and operators.

mod first;
mod host;

pub(crate) use first::FirstRequest;
pub(crate) use host::host;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Response, StatusCode};

/// The body of any response.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The most bytes of a request's headers; longer ones get 431.
pub(crate) const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The content security policy of a response that is not a page: it loads nothing, and no page may
/// show it in a frame.
const DENY_ALL_CSP: &str = "default-src 'none'; frame-ancestors 'none'";

/// The answer to OPTIONS: the methods that are allowed. A load balancer may use it to see whether
/// the server is there.
pub(crate) fn options(allowed: &[Method]) -> Response<Body> {
    let mut response = text(StatusCode::NO_CONTENT, "");
    response.headers_mut().remove(CONTENT_TYPE);
    response.headers_mut().insert(ALLOW, list(allowed));
    response
}

/// The answer 405, with the methods that are allowed.
pub(crate) fn not_allowed(allowed: &[Method]) -> Response<Body> {
    let allowed = list(allowed);
    let why = format!("only {} are allowed here\n", allowed.to_str().unwrap_or_default());
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &why);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// The methods, and OPTIONS, which is allowed everywhere.
fn list(methods: &[Method]) -> HeaderValue {
    let names: Vec<_> = methods.iter().chain([&Method::OPTIONS]).map(Method::as_str).collect();
    // Methods are tokens.
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// A mark on a response: the body of its request was read to the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRead;

/// Closes the connection after a response that was made before its request's body was read: the
/// rest of the body must not be taken for a request.
pub(crate) fn close_unread(has_body: bool, response: &mut Response<Body>) {
    let is_read = response.extensions().get::<BodyRead>().is_some();
    if has_body && !is_read {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The answer 503, with `after` as Retry-After, rounded up to whole seconds.
pub(crate) fn busy(after: Duration, why: &str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// A short response in plain text.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    let never = |never: Infallible| match never {};
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(never).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    add_security_headers(headers);
    response
}

/// Adds headers by which browsers do not guess the type of a response, and show it in no frame.
pub(crate) fn add_security_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, DENY_ALL_CSP),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
