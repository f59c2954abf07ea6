//! The grants of a plugin: what the configuration lets it do.

use serde::Deserialize;

/// `[plugins.NAME.grants]`: names, or prefixes with a `*` at the end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Topics that it may broadcast on by naming them; its channel's own topic needs no grant.
    pub publish: Vec<String>,
    /// Pipelines that it may enqueue events in.
    pub enqueue: Vec<String>,
    /// Topics that it may subscribe to.
    pub subscribe: Vec<String>,
    /// User ids whose connections it may close.
    pub disconnect: Vec<String>,
    /// Plugins whose socket refs it may use; its own socket refs need no grant.
    pub reply: Vec<String>,
}

/// Something that needs a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// To broadcast on a topic.
    Publish(String),
    /// To enqueue events in a pipeline.
    Enqueue(String),
    /// To subscribe to a topic.
    Subscribe(String),
    /// To close the connections of a user.
    Disconnect(String),
    /// To answer with a socket ref that was given to this other plugin.
    Reply(String),
}

/// The error for something that is not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {wanted:?} is not granted; granted are {granted:?} (plugins.{plugin}.grants.{key})"
)]
pub struct Denied {
    plugin: String,
    what: &'static str,
    wanted: String,
    granted: Vec<String>,
    /// The key of the list in `grants`, which is also the label in metrics.
    pub key: &'static str,
}

/// The number of characters of a text from outside that a log line shows.
const MOST_SHOWN: usize = 80;

impl Default for Grants {
    /// Grants everything, except the use of other plugins' socket refs.
    fn default() -> Self {
        let any = || vec!["*".to_owned()];
        let (publish, enqueue, subscribe, disconnect) = (any(), any(), any(), any());
        Self { publish, enqueue, subscribe, disconnect, reply: Vec::new() }
    }
}

impl Grants {
    /// Whether the configuration withholds anything that is granted by default.
    pub fn are_limited(&self) -> bool {
        let Self { publish, enqueue, subscribe, disconnect, reply: _ } = self;
        let all = [publish, enqueue, subscribe, disconnect];
        all.iter().any(|names| !names.iter().any(|name| name == "*"))
    }

    /// Checks whether `need` is granted to `plugin`, whose grants these are. If the name ends with
    /// `*`, everything that it stands for has to be granted.
    pub fn check(&self, plugin: &str, need: &Need) -> Result<(), Denied> {
        let (what, key, granted) = match need {
            Need::Publish(_) => ("the topic", "publish", &self.publish),
            Need::Enqueue(_) => ("the pipeline", "enqueue", &self.enqueue),
            Need::Subscribe(_) => ("a subscription to", "subscribe", &self.subscribe),
            Need::Disconnect(_) => ("to disconnect the user id", "disconnect", &self.disconnect),
            Need::Reply(_) => ("a socket ref of the plugin", "reply", &self.reply),
        };
        let wanted = need.name();
        let grants = |name: &String| match name.strip_suffix('*') {
            Some(start) => wanted.starts_with(start),
            None => wanted == name,
        };
        match granted.iter().any(grants) {
            true => Ok(()),
            false => {
                let (plugin, wanted) = (plugin.to_owned(), wanted.to_owned());
                Err(Denied { plugin, what, wanted, granted: granted.clone(), key })
            }
        }
    }

    /// The error for a text that is no socket ref of this server.
    pub fn forged(&self, plugin: &str, text: &str) -> Denied {
        let wanted = text.chars().take(MOST_SHOWN).collect();
        let what = "what is no socket ref of this server,";
        let plugin = plugin.to_owned();
        Denied { plugin, what, wanted, granted: self.reply.clone(), key: "reply" }
    }

    /// Checks several needs.
    ///
    /// # Errors
    ///
    /// A text with one line for each need that is not granted.
    pub fn check_all(&self, plugin: &str, needs: &[Need]) -> Result<(), String> {
        let denied = needs.iter().filter_map(|need| self.check(plugin, need).err());
        let denied: Vec<String> = denied.map(|denied| denied.to_string()).collect();
        if denied.is_empty() { Ok(()) } else { Err(denied.join("\n")) }
    }
}

impl Need {
    /// The name of the topic, pipeline, user or plugin.
    pub fn name(&self) -> &str {
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
        grants.check("relay", &Need::Publish(topic.to_owned()))
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
        assert!(Grants::default().check("relay", &room).is_err());
        let grants: Grants = toml::from_str("reply = [\"room\"]").unwrap();
        assert_eq!(grants.check("relay", &room), Ok(()));
        assert!(grants.check("relay", &Need::Reply("roommate".to_owned())).is_err());
        let forged = grants.forged("relay", &"x".repeat(1000)).to_string();
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
            assert_eq!(grants.check("relay", &need("a:1".to_owned())), Ok(()));
            let denied = grants.check("relay", &need("b".to_owned())).unwrap_err();
            assert_eq!(denied.key, key);
        }
    }

    #[test]
    fn a_denial_says_what_was_wanted_and_what_is_granted() {
        let denied = publish(&["user:*"], "admin").unwrap_err().to_string();
        let expected = "the topic \"admin\" is not granted; granted are [\"user:*\"] \
                        (plugins.relay.grants.publish)";
        assert_eq!(denied, expected);
    }

    #[test]
    fn everything_is_granted_unless_there_is_a_list() {
        assert!(!Grants::default().are_limited());
        let grants: Grants = toml::from_str("enqueue = [\"jobs\"]").unwrap();
        assert!(grants.are_limited());
        assert_eq!(grants.check("relay", &Need::Publish("any".to_owned())), Ok(()));
        for need in [Need::Subscribe("any".to_owned()), Need::Disconnect("any".to_owned())] {
            assert_eq!(grants.check("relay", &need), Ok(()));
        }
        let needs = [Need::Enqueue("jobs".to_owned()), Need::Enqueue("mails".to_owned())];
        assert!(grants.check_all("relay", &needs).unwrap_err().contains("\"mails\""));
    }
}
