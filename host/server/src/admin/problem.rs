//! The answer when something is not done: problem details (RFC 9457).

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::schema;
use crate::http::{self, Body};

/// The reason why something was not done: what was found, what is allowed, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// The text: what was found, and what was expected.
    detail: String,
    /// The right values, if they are a list.
    allowed: Vec<String>,
    /// The advice what to do.
    advice: Option<&'static str>,
    retry_after_s: Option<u32>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, detail, allowed: Vec::new(), advice: None, retry_after_s: None }
    }

    /// The problem that there is no `what` of this name; the known names are listed.
    pub(super) fn unknown(what: &str, name: &str, known: Vec<String>) -> Self {
        let there = match known.as_slice() {
            [] => "there is none".to_owned(),
            known => format!("there are: {}", known.join(", ")),
        };
        let detail = format!("there is no {what} {name:?}; {there}");
        Self { allowed: known, ..Self::new(StatusCode::NOT_FOUND, detail) }
    }

    /// The problem of a request that is not valid.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// This problem, with a list of the right values.
    pub(super) fn allowed(self, allowed: Vec<String>) -> Self {
        Self { allowed, ..self }
    }

    /// This problem, with advice.
    pub(super) fn advice(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }

    /// This problem, with the seconds after which it is worth trying again (`Retry-After`).
    pub(super) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The response, as `application/problem+json`.
    pub(super) fn response(&self) -> Response<Body> {
        let Self { status, detail, allowed, advice, retry_after_s } = self;
        let title = status.canonical_reason().unwrap_or_default();
        let mut problem = json!({ "status": status.as_u16(), "title": title, "detail": detail });
        if !allowed.is_empty() {
            problem = schema::with(problem, "allowed", json!(allowed));
        }
        if let Some(advice) = advice {
            problem = schema::with(problem, "advice", json!(advice));
        }
        let mut response = http::text(*status, &format!("{problem}\n"));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if *status == StatusCode::METHOD_NOT_ALLOWED
            && let Ok(methods) = HeaderValue::from_str(&allowed.join(", "))
        {
            headers.insert(ALLOW, methods);
        }
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        response
    }

    pub(super) fn schema() -> Value {
        let schema = schema::object(&[
            ("status", schema::integer()),
            ("title", schema::string()),
            ("detail", schema::about(schema::string(), "What was found, and what was expected.")),
            ("allowed", schema::about(schema::list(schema::string()), "What would be right.")),
            ("advice", schema::about(schema::string(), "What to do.")),
        ]);
        schema::required(schema, &["status", "title", "detail"])
    }
}
