//! What the configuration lets a plugin do.

use serde::Deserialize;

/// `[plugins.NAME.grants]`: names, or their beginnings with a `*` after them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Topics it may broadcast on by their names.
    pub publish: Vec<String>,
    /// Pipelines it may hand events to.
    pub enqueue: Vec<String>,
}

/// Something that takes a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// To broadcast on a topic.
    Publish(String),
    /// To hand events to a pipeline.
    Enqueue(String),
}

/// There is no grant for something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {wanted:?} is not granted; granted are {granted:?} (plugins.NAME.grants.{key})")]
pub struct Denied {
    what: &'static str,
    wanted: String,
    granted: Vec<String>,
    /// In the table, and in metrics.
    pub(crate) key: &'static str,
}

impl Default for Grants {
    /// Everything.
    fn default() -> Self {
        Self { publish: vec!["*".to_owned()], enqueue: vec!["*".to_owned()] }
    }
}

impl Grants {
    /// Whether anything is withheld.
    pub(crate) fn are_limited(&self) -> bool {
        [&self.publish, &self.enqueue].iter().any(|names| !names.iter().any(|name| name == "*"))
    }

    /// Whether something is granted; all that a name with `*` stands for, if it is
    /// one.
    pub(crate) fn check(&self, need: &Need) -> Result<(), Denied> {
        match need {
            Need::Publish(topic) => check("the topic", topic, "publish", &self.publish),
            Need::Enqueue(pipeline) => check("the pipeline", pipeline, "enqueue", &self.enqueue),
        }
    }

    /// Of several, those that are not granted, one in a line; an error if there are
    /// any.
    pub(crate) fn check_all(&self, needs: &[Need]) -> Result<(), String> {
        let denied = needs.iter().filter_map(|need| self.check(need).err());
        let denied: Vec<String> = denied.map(|denied| denied.to_string()).collect();
        if denied.is_empty() { Ok(()) } else { Err(denied.join("\n")) }
    }
}

fn check(
    what: &'static str,
    wanted: &str,
    key: &'static str,
    granted: &[String],
) -> Result<(), Denied> {
    let grants = |name: &String| match name.strip_suffix('*') {
        Some(start) => wanted.starts_with(start),
        None => wanted == name,
    };
    match granted.iter().any(grants) {
        true => Ok(()),
        false => Err(Denied { what, wanted: wanted.to_owned(), granted: granted.to_vec(), key }),
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Publish(topic) => write!(f, "publish {topic}"),
            Self::Enqueue(pipeline) => write!(f, "enqueue {pipeline}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(names: &[&str], topic: &str) -> Result<(), Denied> {
        let publish = names.iter().map(ToString::to_string).collect();
        let grants = Grants { publish, ..Grants::default() };
        grants.check(&Need::Publish(topic.to_owned()))
    }

    #[test]
    fn a_grant_is_a_name_or_its_beginning() {
        let names = ["user:*", "lobby"];
        for (topic, granted) in [
            ("user:1", true),
            ("user:*", true),
            ("lobby", true),
            ("lobby:1", false),
            ("user", false),
            ("*", false),
        ] {
            assert_eq!(publish(&names, topic).is_ok(), granted, "{topic}");
        }
        assert!(publish(&[], "user:1").is_err());
        assert!(publish(&["*"], "*").is_ok());
    }

    #[test]
    fn a_denial_says_what_was_wanted_and_what_is_granted() {
        let denied = publish(&["user:*"], "admin").unwrap_err().to_string();
        let expected = "the topic \"admin\" is not granted; granted are [\"user:*\"] \
                        (plugins.NAME.grants.publish)";
        assert_eq!(denied, expected);
    }

    #[test]
    fn everything_is_granted_unless_there_is_a_list() {
        assert!(!Grants::default().are_limited());
        let grants: Grants = toml::from_str("enqueue = [\"jobs\"]").unwrap();
        assert!(grants.are_limited());
        assert_eq!(grants.check(&Need::Publish("any".to_owned())), Ok(()));
        let needs = [Need::Enqueue("jobs".to_owned()), Need::Enqueue("mails".to_owned())];
        assert!(grants.check_all(&needs).unwrap_err().contains("\"mails\""));
    }
}
