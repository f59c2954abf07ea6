//! The pages of this repository: that their links lead somewhere, and that the first ones
//! stay short.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use millrace_tests::repository::{files, root};
use page::Page;

/// Who may be linked to outside. A package is told by its name: pages of registries come
/// and go, and say nothing that its documentation does not.
const SITES: [&str; 2] = ["hexdocs.pm", "rustup.rs"];

/// All pages, by their paths from the root.
fn pages() -> BTreeMap<PathBuf, Page> {
    let pages = files("md").into_iter().map(|path| {
        let page = Page::new(&std::fs::read_to_string(root().join(&path)).unwrap());
        (path, page)
    });
    pages.collect()
}

/// Why a link of a page leads nowhere.
fn broken(pages: &BTreeMap<PathBuf, Page>, from: &Path, link: &str) -> Option<String> {
    if let Some((scheme, rest)) = link.split_once("://") {
        let host = rest.split(['/', '?', '#', ':']).next().unwrap();
        let known = matches!(scheme, "http" | "https") && SITES.contains(&host);
        return (!known).then(|| {
            format!(
                "links to {host}; a package is told by its name, and documentation may be \
                 linked to if its site is in SITES of tests/documents ({SITES:?})"
            )
        });
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(p, a)| (p, Some(a)));
    let Some(target) = joined(from, path) else { return Some("leads out of here".to_owned()) };
    if !root().join(&target).exists() {
        return Some(format!("there is no {}", target.display()));
    }
    let anchor = anchor?;
    match pages.get(&target) {
        None => Some(format!("{} is no page, so it has no #{anchor}", target.display())),
        Some(page) if page.anchors.contains(anchor) => None,
        Some(page) => Some(format!("{} has {:?}", target.display(), page.anchors)),
    }
}

/// Where a path of a page leads, from the root; `None` out of it.
fn joined(from: &Path, path: &str) -> Option<PathBuf> {
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let mut target = from.parent().unwrap().to_owned();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if target.pop() => {}
            ".." => return None,
            part => target.push(part),
        }
    }
    Some(target)
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut found = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            if let Some(why) = broken(&pages, path, link) {
                found.push(format!("{}: {link}: {why}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The check finds what it is for.
#[test]
fn links_that_lead_nowhere_are_found() {
    let text = "# One\n## Two `x.y`, three\n## One\n[a](two.md#two-xy-three)\n[b]: two.md#one-1\n";
    let two = Page::new(text);
    assert_eq!(two.links, ["two.md#two-xy-three", "two.md#one-1"]);
    let pages = BTreeMap::from([
        (PathBuf::from("README.md"), Page::new("# Title\n")),
        (PathBuf::from("host/docs/README.md"), two),
    ]);
    let from = Path::new("host/docs/README.md");
    for link in ["#one", "#one-1", "README.md#two-xy-three", "../../README.md#title", ".."] {
        assert_eq!(broken(&pages, from, link), None, "{link}");
    }
    for link in ["#one-2", "none-such.md", "../README.md", "../../README.md#none", "..#one"] {
        assert!(broken(&pages, from, link).is_some(), "{link}");
    }
    assert!(broken(&pages, from, "../../../README.md").is_some());
    assert_eq!(broken(&pages, from, "https://hexdocs.pm/phoenix/channels.html"), None);
    for link in ["https://registry.example/packages/ws", "https://hexdocs.pm.example/", "ftp://x"] {
        assert!(broken(&pages, from, link).is_some(), "{link}");
    }
}

#[test]
fn the_first_pages_are_short() {
    for (path, most) in [("README.md", 150), ("ARCHITECTURE.md", 200)] {
        let lines = std::fs::read_to_string(root().join(path)).unwrap().lines().count();
        assert!(
            lines <= most,
            "{path} has {lines} lines, at most {most} are for it; what is for one reader has a \
             page in host/docs"
        );
    }
}

/// One click from the first page, and no page that nobody finds.
#[test]
fn each_reader_finds_a_page_from_the_readme() {
    let pages = pages();
    let linked = |path: &str| -> BTreeSet<PathBuf> {
        let links = pages[Path::new(path)].links.iter();
        let paths = links.map(|link| link.split('#').next().unwrap());
        paths.filter_map(|link| joined(Path::new(path), link)).collect()
    };
    let first = linked("README.md");
    for page in ["guide", "protocol", "operating", "configuration", "README"] {
        let page = format!("host/docs/{page}.md");
        assert!(first.contains(Path::new(&page)), "README.md does not link to {page}");
    }
    assert!(first.contains(Path::new("CONTRIBUTING.md")), "README.md: CONTRIBUTING.md");
    let index = "host/docs/README.md";
    let listed = linked(index);
    for path in pages.keys().filter(|path| path.starts_with("host/docs")) {
        let is_there = path == Path::new(index) || listed.contains(path);
        assert!(is_there, "{index} does not link to {}", path.display());
    }
}
