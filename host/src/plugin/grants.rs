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
    /// Topics it may subscribe to.
    pub subscribe: Vec<String>,
    /// User ids whose connections it may close.
    pub disconnect: Vec<String>,
    /// Plugins whose socket refs it may use; its own need no grant.
    pub reply: Vec<String>,
}

/// Something that takes a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// To broadcast on a topic.
    Publish(String),
    /// To hand events to a pipeline.
    Enqueue(String),
    /// To subscribe to a topic.
    Subscribe(String),
    /// To close the connections of a user.
    Disconnect(String),
    /// To answer by a socket ref that this plugin was given.
    Reply(String),
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

/// Letters of a text from anywhere in a log line.
const MOST_SHOWN: usize = 80;

impl Default for Grants {
    /// Everything but to answer whom another plugin was asked by.
    fn default() -> Self {
        let any = || vec!["*".to_owned()];
        let (publish, enqueue, subscribe, disconnect) = (any(), any(), any(), any());
        Self { publish, enqueue, subscribe, disconnect, reply: Vec::new() }
    }
}

impl Grants {
    /// Whether anything is withheld that is so only if the configuration says it.
    pub(crate) fn are_limited(&self) -> bool {
        let Self { publish, enqueue, subscribe, disconnect, reply: _ } = self;
        let all = [publish, enqueue, subscribe, disconnect];
        all.iter().any(|names| !names.iter().any(|name| name == "*"))
    }

    /// Whether something is granted; all that a name with `*` stands for, if it is
    /// one.
    pub(crate) fn check(&self, need: &Need) -> Result<(), Denied> {
        match need {
            Need::Publish(topic) => check("the topic", topic, "publish", &self.publish),
            Need::Enqueue(pipeline) => check("the pipeline", pipeline, "enqueue", &self.enqueue),
            Need::Subscribe(topic) => {
                check("a subscription to", topic, "subscribe", &self.subscribe)
            }
            Need::Disconnect(user_id) => {
                check("to disconnect the user id", user_id, "disconnect", &self.disconnect)
            }
            Need::Reply(plugin) => {
                check("a socket ref of the plugin", plugin, "reply", &self.reply)
            }
        }
    }

    /// There is no grant for a socket ref that the server has not made.
    pub(crate) fn forged(&self, text: &str) -> Denied {
        let wanted = text.chars().take(MOST_SHOWN).collect();
        let what = "what is no socket ref of this server,";
        Denied { what, wanted, granted: self.reply.clone(), key: "reply" }
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

impl Need {
    /// Of what it is.
    pub(crate) fn name(&self) -> &str {
        let (Self::Publish(name)
        | Self::Enqueue(name)
        | Self::Subscribe(name)
        | Self::Disconnect(name)
        | Self::Reply(name)) = self;
        name
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Publish(topic) => write!(f, "publish {topic}"),
            Self::Enqueue(pipeline) => write!(f, "enqueue {pipeline}"),
            Self::Subscribe(topic) => write!(f, "subscribe {topic}"),
            Self::Disconnect(user_id) => write!(f, "disconnect {user_id}"),
            Self::Reply(plugin) => write!(f, "reply {plugin}"),
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
    fn another_plugins_socket_refs_take_a_grant() {
        let room = Need::Reply("room".to_owned());
        assert!(Grants::default().check(&room).is_err());
        let grants: Grants = toml::from_str("reply = [\"room\"]").unwrap();
        assert_eq!(grants.check(&room), Ok(()));
        assert!(grants.check(&Need::Reply("roommate".to_owned())).is_err());
        let forged = grants.forged(&"x".repeat(1000)).to_string();
        assert!(forged.contains("no socket ref of this server") && forged.len() < 300, "{forged}");
    }

    #[test]
    fn each_list_is_of_its_own_kind() {
        for (key, need) in [
            ("publish", Need::Publish as fn(String) -> Need),
            ("enqueue", Need::Enqueue),
            ("subscribe", Need::Subscribe),
            ("disconnect", Need::Disconnect),
        ] {
            let grants: Grants = toml::from_str(&format!("{key} = [\"a:*\"]")).unwrap();
            assert!(grants.are_limited(), "{key}");
            assert_eq!(grants.check(&need("a:1".to_owned())), Ok(()));
            assert_eq!(grants.check(&need("b".to_owned())).unwrap_err().key, key);
        }
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
        for need in [Need::Subscribe("any".to_owned()), Need::Disconnect("any".to_owned())] {
            assert_eq!(grants.check(&need), Ok(()));
        }
        let needs = [Need::Enqueue("jobs".to_owned()), Need::Enqueue("mails".to_owned())];
        assert!(grants.check_all(&needs).unwrap_err().contains("\"mails\""));
    }
}
