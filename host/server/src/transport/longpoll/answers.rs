//! The answers of long-polling. What phoenix.js reads is JSON with the status in it, behind HTTP's
//! 200. It survives any other body that is no JSON, and no JSON with another status.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_TYPE, HeaderMap,
    HeaderValue,
};
use hyper::{Response, StatusCode};
use millrace_wire::Frame;

use crate::http::{Body, add_security_headers, text};
use crate::longpoll::Batch;
use crate::net::OnFlush;

/// The status of an answer, which is in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Messages, or a request whose messages were read.
    Ok = 200,
    /// No message has come.
    NoContent = 204,
    /// The client may not connect.
    Forbidden = 403,
    /// The session has not read all messages in time.
    TimedOut = 408,
    /// There is no such session, or a new one.
    Gone = 410,
    /// The session has ended under the poll. phoenix.js of any version connects again; after 410
    /// older ones would go on as if nothing had happened.
    Ended = 500,
}

/// An answer with nothing but a status.
pub(super) fn status(status: Status) -> Response<Body> {
    json(full(format!(r#"{{"status":{}}}"#, status as u16)))
}

/// The answer to a poll without messages.
pub(super) fn nothing(status: Status, token: &str) -> Response<Body> {
    let status = status as u16;
    json(full(format!(r#"{{"status":{status},"token":"{token}","messages":[]}}"#)))
}

/// The answer to a poll with messages, each as a string.
pub(super) fn messages(batch: Batch, token: &str, on_flush: &OnFlush) -> Response<Body> {
    let bytes = batch.messages.iter().map(|message| message.len() + 16).sum::<usize>();
    let mut body = String::with_capacity(bytes + token.len() + 64);
    body.push_str(r#"{"status":200,"token":""#);
    body.push_str(token);
    body.push_str(r#"","messages":["#);
    let mut separator = "";
    for message in &batch.messages {
        let Frame::Text(text) = message else { continue };
        body.push_str(separator);
        // A string is always JSON.
        body.push_str(&serde_json::to_string(text.as_str()).unwrap_or_default());
        separator = ",";
    }
    body.push_str("]}");
    json(batch.into_body(body, on_flush).boxed_unsync())
}

/// The answer to a page that asks whether it may ask, as in Phoenix.
pub(super) fn preflight(headers: &HeaderMap) -> Response<Body> {
    let mut response = open_to_pages(text(StatusCode::OK, ""));
    let to = response.headers_mut();
    if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        to.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    let methods = HeaderValue::from_static("get, post, options");
    to.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    to.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

/// Lets the pages of all origins read a response. Whether a page may connect is checked before.
pub(super) fn open_to_pages(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn full(body: String) -> Body {
    let never = |never: Infallible| match never {};
    Full::from(body).map_err(never).boxed_unsync()
}

fn json(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    add_security_headers(response.headers_mut());
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    open_to_pages(response)
}
