//! Identifiers that have a better word.

use crate::finding::{self, Finding};
use crate::rules::{WORDS, WORDS_LEFT, WORDS_WHY};
use crate::source::{SOURCES, Source};

fn check(sources: &[Source]) -> Vec<(String, Finding)> {
    let mut findings = Vec::new();
    for source in sources {
        for name in &source.names {
            let mut rules = WORDS.iter().filter(|rule| source.path.starts_with(rule.below));
            if let Some(rule) = rules.find(|rule| rule.word == name.text) {
                let found = format!("the identifier {}", rule.word);
                let finding = Finding::new(&source.path, name.line, found, rule.better, WORDS_WHY);
                findings.push((name.text.clone(), finding));
            }
        }
    }
    findings
}

#[test]
fn names_are_the_words_of_the_field() {
    finding::none(&finding::beyond(check(&SOURCES), "WORDS_LEFT", WORDS_LEFT));
}

#[test]
fn a_word_that_has_a_better_one_is_found_as_a_whole_identifier_of_code() {
    let text = "/// A Letter.\nuse crate::{Letter as Item, Letters};\nfn letter() {\n    \
                log!(\"Letter\", x = vec![Letter]);\n}\n";
    let session = Source::new("host/session/src/a.rs", text);
    let tests = Source::new("tests/kit/a.rs", text);
    let (words, findings): (Vec<String>, Vec<Finding>) =
        check(&[session, tests]).into_iter().unzip();
    assert_eq!(words, ["Letter", "Letter"]);
    let expected = [
        "host/session/src/a.rs:2: the identifier Letter\n    allowed: MailboxItem\n",
        "host/session/src/a.rs:4: the identifier Letter\n",
    ];
    finding::are(&findings, &expected);
}

#[test]
fn a_word_may_be_banned_from_one_folder_alone() {
    let in_folder = |path| check(&[Source::new(path, "enum Broken {}\n")]).len();
    assert_eq!(in_folder("host/pipeline/src/dispatcher/mod.rs"), 1);
    assert_eq!(in_folder("host/server/src/transport/websocket.rs"), 0);
}
