//! What of Markdown the pages use: headings, links, code.

use std::collections::{BTreeMap, BTreeSet};

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    /// What may stand behind `#` in a link to it.
    pub(super) anchors: BTreeSet<String>,
    /// Where its links lead, those to itself too.
    pub(super) links: Vec<String>,
}

impl Page {
    pub(super) fn new(text: &str) -> Self {
        let mut page = Self { anchors: BTreeSet::new(), links: Vec::new() };
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        let mut prose = String::new();
        let mut in_block = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
            } else if !in_block {
                prose.push_str(line);
                prose.push('\n');
                if let Some(heading) = heading(line) {
                    let anchor = anchor(heading);
                    let time = times.entry(anchor.clone()).or_default();
                    page.anchors.insert(match *time {
                        0 => anchor,
                        time => format!("{anchor}-{time}"),
                    });
                    *time += 1;
                }
            }
        }
        assert!(!in_block, "a block of code without an end");
        page.links = links(&without_code(&prose));
        page
    }
}

/// The text of a heading.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    (1..=6).contains(&level).then_some(text)?.strip_prefix(' ')
}

/// What a heading is called in links.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The text without what stands between backticks. A link around such code stays one.
fn without_code(prose: &str) -> String {
    // Paragraph by paragraph, as a backtick without a partner is only a backtick.
    let paragraphs = prose.split("\n\n").map(|paragraph| {
        let parts: Vec<&str> = paragraph.split('`').collect();
        match parts.len() % 2 {
            1 => parts.into_iter().step_by(2).collect::<String>(),
            _ => paragraph.to_owned(),
        }
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// `[text](link)`, `[text]: link` at the start of a line, and addresses as they stand.
fn links(prose: &str) -> Vec<String> {
    let mut links = Vec::new();
    for behind in prose.split("](").skip(1) {
        let link = behind.split([')', ' ']).next().unwrap_or(behind);
        links.push(link.to_owned());
    }
    for line in prose.lines().filter(|line| line.starts_with('[')) {
        if let Some((_, link)) = line.split_once("]: ") {
            links.push(link.trim().to_owned());
        }
    }
    for (at, _) in prose.match_indices("://") {
        let (before, behind) = prose.split_at(at);
        // Those in brackets are there already.
        let start = before.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |i| i + 1);
        if before[..start].ends_with("](") || before[..start].ends_with("]: ") {
            continue;
        }
        let end = behind.find([' ', '\n', ')', '>', '"', '|']).unwrap_or(behind.len());
        links.push(format!("{}{}", &before[start..], &behind[..end]));
    }
    links
}
