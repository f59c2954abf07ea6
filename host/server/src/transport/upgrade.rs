//! The request to upgrade to a WebSocket, and the answers to a wrong one (RFC 6455, sections 4.2.1
//! and 4.4; RFC 9110, section 7.8).

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::http::{self, Body};

/// The only version of the WebSocket protocol.
const VERSION: &str = "13";

/// The answer 101, which makes the connection a WebSocket, or an error answer that says what is
/// wrong.
pub(super) fn upgrade<B>(request: &Request<B>) -> Result<Response<Body>, Box<Response<Body>>> {
    let refused = |status, why: &str| Err(Box::new(http::text(status, why)));
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refused(StatusCode::BAD_REQUEST, "a WebSocket handshake is a GET request\n");
    }
    let headers = request.headers();
    let says =
        |name, expected: &str| tokens(headers, name).any(|t| t.eq_ignore_ascii_case(expected));
    let asks = request.method() == Method::GET
        && request.version() >= Version::HTTP_11
        && says(CONNECTION, "upgrade")
        && says(UPGRADE, "websocket");
    if !asks {
        return Err(required(
            "a WebSocket is here: a GET over HTTP/1.1 with `Connection: Upgrade` and `Upgrade: \
             websocket` is expected; a proxy in front has to pass them on\n",
        ));
    }
    if !says(SEC_WEBSOCKET_VERSION, VERSION) {
        return Err(required("`Sec-WebSocket-Version: 13` is expected\n"));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if !key.is_empty() => Ok(switch(key)),
        _ => refused(StatusCode::BAD_REQUEST, "one `Sec-WebSocket-Key` is expected\n"),
    }
}

/// The elements of a header that is a list, which may be on several lines.
pub(super) fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    // No token has a space in it, and some clients leave out the comma.
    let tokens = lines.flat_map(|line| line.split([',', ' ', '\t']));
    tokens.filter(|token| !token.is_empty())
}

fn switch(key: &HeaderValue) -> Response<Body> {
    let mut response = http::text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.clear();
    announce(headers);
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The answer 426, with the headers that are expected.
fn required(why: &str) -> Box<Response<Body>> {
    let mut response = http::text(StatusCode::UPGRADE_REQUIRED, why);
    let headers = response.headers_mut();
    announce(headers);
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    Box::new(response)
}

fn announce(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_on_however_many_lines() {
        let mut headers = HeaderMap::new();
        for line in ["keep-alive, ,Upgrade", "a b"] {
            headers.append(CONNECTION, HeaderValue::from_static(line));
        }
        let found: Vec<_> = tokens(&headers, CONNECTION).collect();
        assert_eq!(found, ["keep-alive", "Upgrade", "a", "b"]);
    }
}
