//! The session that a request means, by its token.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{HeaderMap, Uri};

use super::session::start;
use crate::longpoll::{Exchange, LongPolls};
use crate::net::Peer;
use crate::node::Node;
use crate::transport::handshake::Refused;

/// The header with the token of the session, which goes before the one in the query.
const SESSION_TOKEN: &str = "x-phoenix-longpoll-token";

/// The session that a request means.
pub(super) enum Found {
    /// A session that there is.
    Session(Session),
    /// A session that was promised, and has not been made yet; its number and its token.
    Promised(u64, String),
    /// A session that has ended.
    Dead,
    /// The request has no token of a session. It may have one of the app's.
    NoToken,
}

/// A session that there is.
pub(super) struct Session {
    /// The number.
    pub(super) number: u64,
    pub(super) exchange: Arc<Exchange>,
    /// The token for the answer.
    pub(super) token: String,
}

impl Found {
    /// Finds the session of a request.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap, node: &Node) -> Self {
        let Some(text) = token_of(uri, headers) else { return Self::NoToken };
        let Some((token, is_to_be_renewed)) = node.longpolls.verify(&text) else {
            // One of another run of the server looks like one of this run.
            return if LongPolls::is_like_token(&text) { Self::Dead } else { Self::NoToken };
        };
        let number = token.session;
        match node.longpolls.session(number) {
            Some(exchange) => {
                let token = match is_to_be_renewed {
                    true => node.longpolls.token(number),
                    false => text,
                };
                Self::Session(Session { number, exchange, token })
            }
            None if token.is_promise => Self::Promised(number, text),
            None => Self::Dead,
        }
    }
}

/// Makes a session that was promised, unless another request has done so meanwhile.
///
/// # Errors
///
/// The answer to a client that may not connect now.
pub(super) async fn keep_promise(
    head: &Parts,
    client: Peer,
    node: &Arc<Node>,
    number: u64,
    promise: &str,
) -> Result<Session, Refused> {
    let _lock = node.longpolls.lock_start(number).await;
    let exchange = match node.longpolls.session(number) {
        Some(exchange) => exchange,
        None => start(head, client, node, number, Some(promise)).await?,
    };
    Ok(Session { number, exchange, token: node.longpolls.token(number) })
}

/// The token of a request. In the query the last one counts: the app may have one of that name, too.
fn token_of(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let in_header = headers.get(SESSION_TOKEN).and_then(|token| token.to_str().ok());
    if let Some(token) = in_header.filter(|token| !token.is_empty()) {
        return Some(token.to_owned());
    }
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let (_, token) = pairs.filter(|(name, _)| name == "token").last()?;
    (!token.is_empty()).then(|| token.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_goes_before_the_last_token_of_the_query() {
        let found = |query: &str, header: Option<&'static str>| {
            let uri = format!("/socket/longpoll{query}").parse().unwrap();
            let mut headers = HeaderMap::new();
            header.map(|token| headers.insert(SESSION_TOKEN, token.parse().unwrap()));
            token_of(&uri, &headers)
        };
        assert_eq!(found("?vsn=2.0.0&", None), None);
        assert_eq!(found("?token=", None), None);
        assert_eq!(found("?token=a&vsn=2.0.0&token=b", None).as_deref(), Some("b"));
        assert_eq!(found("?token=b", Some("h")).as_deref(), Some("h"));
        assert_eq!(found("?token=b", Some("")).as_deref(), Some("b"));
    }
}
