//! Doc comments: that each file has one, and that each says something.

use crate::finding::{self, Finding};
use crate::rules::{EMPTY_DOCS, EMPTY_DOCS_LEFT, EMPTY_DOCS_WHY, MODULE_DOCS_WHY};
use crate::source::{Doc, SOURCES, Source};

fn check_modules(sources: &[Source]) -> Vec<Finding> {
    let without = sources.iter().filter(|source| !source.docs.iter().any(|doc| doc.of_file));
    let allowed = "`//!` at the top, with a sentence that says what it is for";
    let finding = |source: &Source| {
        Finding::new(&source.path, 1, "a file without a module doc", allowed, MODULE_DOCS_WHY)
    };
    without.map(finding).collect()
}

/// Why a doc comment says nothing.
fn emptiness(doc: &Doc) -> Option<String> {
    let words: Vec<&str> = doc.text.split_whitespace().collect();
    if let [word] = words[..]
        && !word.starts_with('`')
    {
        return Some("two words or more".to_owned());
    }
    let bare = |word: &str| word.trim_end_matches(['.', ',', ':', ';']).to_owned();
    let begins = |start: &str| {
        let starts: Vec<&str> = start.split(' ').collect();
        words.len() >= starts.len() && starts.iter().zip(&words).all(|(a, b)| *a == bare(b))
    };
    let rules = EMPTY_DOCS.iter().filter(|(most, _)| words.len() <= *most);
    let mut rules =
        rules.flat_map(|(most, starts)| starts.split(", ").map(move |start| (most, start)));
    let (most, start) = rules.find(|(_, start)| begins(start))?;
    Some(format!("what begins with \"{start}\" has more than {most} words; begin with a noun"))
}

fn check_words(sources: &[Source]) -> Vec<(String, Finding)> {
    let mut findings = Vec::new();
    for source in sources {
        for doc in &source.docs {
            if let Some(allowed) = emptiness(doc) {
                let found = format!("the doc comment \"{}\" says nothing", doc.text);
                let finding = Finding::new(&source.path, doc.line, found, allowed, EMPTY_DOCS_WHY);
                findings.push((source.package().to_owned(), finding));
            }
        }
    }
    findings
}

#[test]
fn every_file_says_what_it_is_for() {
    finding::none(&check_modules(&SOURCES));
}

#[test]
fn a_file_that_does_not_say_what_it_is_for_is_found() {
    let without = "// A comment.\n\nmod inner {\n    //! Another module's.\n}\n\
                   /// A function's.\nfn f() {}\n";
    let with = "#![no_main]\n//! A file.\n";
    let sources = [Source::new("host/a.rs", without), Source::new("host/b.rs", with)];
    finding::are(&check_modules(&sources), &["host/a.rs:1: a file without a module doc"]);
}

#[test]
fn doc_comments_say_something() {
    let found = check_words(&SOURCES);
    finding::none(&finding::beyond(found, "EMPTY_DOCS_LEFT", EMPTY_DOCS_LEFT));
}

#[test]
fn doc_comments_that_say_nothing_are_found() {
    let empty = [
        "Its event.",
        "Which.",
        "Why not.",
        "Of it.",
        "What it carries.",
        "Seats.",
        "The same.",
        "As it is configured.",
        "Of each payload,\n/// in bytes.",
        "It serves.",
        "Those that wait.",
    ];
    for text in empty {
        let file = format!("struct S {{\n    a: u8,\n/// {text}\n    b: u8,\n}}\n");
        let found = check_words(&[Source::new("host/wire/src/a.rs", &file)]);
        let [(package, finding)] = &found[..] else { panic!("{text}: {found:?}") };
        assert_eq!(package, "host/wire");
        finding::are(
            std::slice::from_ref(finding),
            &[&format!("host/wire/src/a.rs:3: the doc comment \"{}", &text[..3])],
        );
    }
}

#[test]
fn doc_comments_that_have_a_noun_are_not_found() {
    let full = [
        "`channel.join`.",
        "The event.",
        "What a channel waits for.",
        "Bytes that wait.",
        "Its exit code, as the shell has it.",
        "Whether the queue is empty.",
        "How a join ends.",
        "In bytes, without the header of the frame.",
        "It is live (again), as a canary or whole.",
    ];
    for text in full {
        let file =
            format!("/// {text}\nfn f() {{}} // Which.\nconst T: &str = \"\n/// Its.\n\";\n");
        let found = check_words(&[Source::new("host/wire/src/a.rs", &file)]);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}
