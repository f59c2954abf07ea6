//! Topic patterns: exact, or with one trailing `*`.

use std::fmt;

/// The limit of a topic in bytes; a longer one cannot be joined. Every subscription keeps its
/// topic, and binary frames have room for no more.
pub const MAX_TOPIC_BYTES: usize = 255;

/// Why plugins may not use a topic: not serve it, subscribe to it or broadcast on it. `None` for a
/// topic that they may use.
pub fn reserved(topic: &str) -> Option<&'static str> {
    match topic {
        "phoenix" => Some("is reserved for heartbeats"),
        _ => topic
            .starts_with(OPERATORS)
            .then_some("is reserved for operators, as is all that begins with `millrace:`"),
    }
}

/// The prefix of the topics of the operators' pages.
const OPERATORS: &str = "millrace:";

/// A pattern of the topics that a channel serves: `lobby` (that topic) or `room:*` (all topics that
/// begin with `room:`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicPattern {
    /// The topic itself.
    Exact(String),
    /// The prefix that stands before the `*`.
    Prefix(String),
}

/// The error for a text that is no topic pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic pattern {found:?} {problem}")]
pub struct TopicPatternError {
    found: String,
    problem: &'static str,
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// The text is empty, has a `*` anywhere but at its end, has more than 255 bytes, or is
    /// reserved: `phoenix`, and all that begins with `millrace:`.
    pub fn parse(text: &str) -> Result<Self, TopicPatternError> {
        let error = |problem| Err(TopicPatternError { found: text.to_owned(), problem });
        let (prefix, star) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if text.is_empty() {
            return error("is empty; write an exact topic or one ending in `*`");
        }
        if prefix.contains('*') {
            return error("may have one `*`, at its end");
        }
        if text.len() > MAX_TOPIC_BYTES {
            return error("has more than 255 bytes");
        }
        if let Some(problem) = reserved(text) {
            return error(problem);
        }
        Ok(if star { Self::Prefix(prefix.to_owned()) } else { Self::Exact(text.to_owned()) })
    }

    /// Whether `topic` falls under this pattern.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == topic,
            Self::Prefix(prefix) => topic.starts_with(prefix.as_str()),
        }
    }

    /// How specific the pattern is, to be compared: of two patterns that match a topic, the more
    /// specific one has the larger value. An exact topic is above any prefix, a longer prefix above
    /// a shorter one.
    pub fn specificity(&self) -> (bool, usize) {
        match self {
            Self::Exact(exact) => (true, exact.len()),
            Self::Prefix(prefix) => (false, prefix.len()),
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_phoenix_does() {
        for (pattern, topic, expected) in [
            ("room:*", "room:lobby", true),
            ("room:*", "room:", true),
            ("room:*", "room", false),
            ("*", "anything", true),
            ("lobby", "lobby", true),
            ("lobby", "lobby2", false),
        ] {
            let parsed = TopicPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(topic), expected, "{pattern} {topic}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn bad_patterns_say_why() {
        for (pattern, problem) in [
            ("", "empty"),
            ("a*b", "at its end"),
            ("**", "at its end"),
            ("phoenix", "reserved for heartbeats"),
            ("millrace:*", "reserved for operators"),
            ("millrace:dashboard", "reserved for operators"),
        ] {
            let error = TopicPattern::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
