//! `host/docs/configuration.md` lists every key, with its default.

use super::App;
use super::pipeline::unloaded;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// Sections that exist only if they are named; all other keys have the same values in an empty
/// file.
const NAMED: &str = "[plugins.room]\npath = \".\"\n[pipelines.NAME]\nworker.plugin = \"room\"\n\
                     http = {}\n[statsd]\n[admin]\n[auth.phoenix_token]\nsecrets = [{ env = \
                     \"SECRET_KEY_BASE\" }]\nsalt = \"user socket\"\n[[auth.jwt.keys]]\nalgorithm = \
                     \"HS256\"\nsecret = { file = \"jwt-secret\" }\n[auth.jwt.jwks]\nurl = \
                     \"https://id.example.com/jwks.json\"\nalgorithms = [\"RS256\"]\n";

/// The sections whose keys the list must have.
const SECTIONS: [&str; 35] = [
    "",
    "[server]",
    "[tls]",
    "[cache]",
    "[socket]",
    "[[socket.outbox_policies]]",
    "[longpoll]",
    "[memory]",
    "[drain]",
    "[limits]",
    "[presence]",
    "[[presence.topics]]",
    "[plugins.room]",
    "[plugins.room.http]",
    "[plugins.room.grants]",
    "[static]",
    "[statsd]",
    "[metrics]",
    "[swap]",
    "[compile]",
    "[trust]",
    "[pipelines.NAME]",
    "[pipelines.NAME.worker]",
    "[pipelines.NAME.buffer]",
    "[pipelines.NAME.retry]",
    "[pipelines.NAME.dead_letters]",
    "[pipelines.NAME.http]",
    "[pipelines.NAME.timer]",
    "[admin]",
    "[dashboard]",
    "[auth]",
    "[auth.phoenix_token]",
    "[auth.jwt]",
    "[[auth.jwt.keys]]",
    "[auth.jwt.jwks]",
];

fn load(text: &str) -> Result<App, String> {
    App::parse("/app".into(), text)
}

/// The list as a reader would copy it.
fn listed() -> &'static str {
    let (_, behind) = PAGE.split_once("\n## Every key with its default\n").unwrap();
    let (_, behind) = behind.split_once("```toml\n").unwrap();
    behind.split_once("```\n").unwrap().0
}

/// The meaning of a text: the pipeline as it is run, and all other settings.
fn meaning(text: &str) -> (String, String) {
    let mut app = load(text).unwrap();
    let pipeline = app.pipelines.remove("NAME").unwrap();
    let spec = pipeline.spec("NAME", &|_| Some(unloaded())).unwrap();
    (format!("{spec:#?}\n{:#?}\n{:#?}", pipeline.http, pipeline.timer), format!("{app:#?}"))
}

#[test]
fn the_list_of_all_keys_is_a_configuration_with_every_default() {
    let (found, expected) = (meaning(listed()), meaning(NAMED));
    for (found, expected) in [(found.0, expected.0), (found.1, expected.1)] {
        for (found, expected) in found.lines().zip(expected.lines()) {
            assert_eq!(found, expected, "configuration.md has another value than the default");
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn the_list_has_every_key() {
    for section in SECTIONS {
        let error = load(&format!("{section}\nnone_such = 1\n")).unwrap_err();
        let (_, allowed) = error.split_once("is no key; allowed are ").unwrap();
        let allowed = allowed.lines().next().unwrap();
        for key in allowed.split('`').skip(1).step_by(2) {
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let is_there = listed().split(|c| !letter(c)).any(|word| word == key);
            assert!(is_there, "configuration.md has no {key} of {section:?}");
        }
    }
}
