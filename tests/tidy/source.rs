//! A Rust file, cut into tokens: what the rules look at, each with its line. Strings and
//! comments are no code here, and what macros are given is.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use millrace_tests::repository;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// All Rust files of the repository.
pub(super) static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let paths = repository::files("rs");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let parts = paths
            .chunks(paths.len().div_ceil(threads))
            .map(|paths| scope.spawn(|| paths.iter().map(|path| read(path)).collect::<Vec<_>>()));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
});

fn read(path: &std::path::Path) -> Source {
    let text = std::fs::read_to_string(repository::root().join(path)).unwrap();
    Source::new(path.to_str().unwrap(), &text)
}

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path from the root of the repository.
    pub(super) path: String,
    /// How many lines it has.
    pub(super) lines: usize,
    /// All identifiers.
    pub(super) names: Vec<Name>,
    /// All paths, such as `std::fs::read`; each of a `use` in full.
    pub(super) paths: Vec<CodePath>,
    /// All functions with a body.
    pub(super) functions: Vec<Function>,
    /// All doc comments.
    pub(super) docs: Vec<Doc>,
    /// The lints that it denies for all its code outside tests.
    pub(super) denied: BTreeSet<String>,
}

/// An identifier.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) line: usize,
    pub(super) text: String,
}

/// A path of code.
#[derive(Debug)]
pub(super) struct CodePath {
    pub(super) line: usize,
    /// Its parts; those of the file's own crate begin with `crate`, also where the file
    /// says `super` or `self`.
    pub(super) parts: Vec<String>,
}

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    /// The line of its `fn`.
    pub(super) line: usize,
    /// The number of its lines, from `fn` to the last brace.
    pub(super) lines: usize,
}

/// A doc comment.
#[derive(Debug)]
pub(super) struct Doc {
    pub(super) line: usize,
    /// The number of its lines.
    lines: usize,
    /// Its lines without `///` and `//!`, joined by a space each.
    pub(super) text: String,
    /// Whether it is the file's own, `//!` at its top.
    pub(super) of_file: bool,
}

impl Source {
    /// Cuts a file's text.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path} is no Rust: {error}"));
        let source = Self {
            path: path.to_owned(),
            lines: text.lines().count(),
            names: Vec::new(),
            paths: Vec::new(),
            functions: Vec::new(),
            docs: Vec::new(),
            denied: BTreeSet::new(),
        };
        let text = text.lines().collect();
        let mut reader = Reader { source, text, module: module(path), depth: 0 };
        reader.read(tokens);
        reader.source
    }

    /// The crate it is part of, as the folder of its `Cargo.toml`.
    pub(super) fn package(&self) -> &str {
        let folders = ["/src/", "/tests/", "/benches/", "/examples/", "/targets/"];
        let ends = folders.iter().filter_map(|folder| self.path.find(folder));
        // The groups of tests and their kit are folders of a package at the top.
        let top = self.path.find('/').unwrap_or_default();
        &self.path[..ends.min().unwrap_or(top)]
    }
}

/// The module that a file is, from its path below `src`.
fn module(path: &str) -> Vec<String> {
    let below = path.rsplit_once("/src/").map_or(path, |(_, below)| below);
    let mut parts: Vec<String> =
        below.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "lib" | "main" | "mod")) {
        parts.pop();
    }
    parts
}

/// What reads the tokens of one file.
struct Reader<'a> {
    source: Source,
    /// The file's lines, as doc comments stand in them.
    text: Vec<&'a str>,
    /// The module that the tokens are in.
    module: Vec<String>,
    /// How many braces, brackets and parentheses are around the tokens.
    depth: usize,
}

impl Reader<'_> {
    fn read(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Punct(sign) if sign.as_char() == '#' => self.attribute(&tokens, at),
                TokenTree::Ident(_) => {
                    self.item(&tokens[at..]);
                    self.path(&tokens, at, &[])
                }
                TokenTree::Group(group) => {
                    self.group(&tokens[..at], group);
                    at + 1
                }
                _ => at + 1,
            };
        }
    }

    /// What stands in braces, brackets or parentheses.
    fn group(&mut self, before: &[TokenTree], group: &Group) {
        let module = match before {
            [.., TokenTree::Ident(word), TokenTree::Ident(name)] if word == "mod" => Some(name),
            _ => None,
        };
        let depth = self.module.len();
        self.module.extend(module.map(ToString::to_string));
        self.depth += 1;
        self.read(group.stream());
        self.depth -= 1;
        self.module.truncate(depth);
    }

    /// A function, if one begins here.
    fn item(&mut self, tokens: &[TokenTree]) {
        let [TokenTree::Ident(word), TokenTree::Ident(name), rest @ ..] = tokens else { return };
        if word != "fn" {
            return;
        }
        let body = rest.iter().find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group)),
            TokenTree::Punct(sign) if sign.as_char() == ';' => Some(None),
            _ => None,
        });
        if let Some(Some(body)) = body {
            let line = word.span().start().line;
            let lines = body.span_close().end().line - line + 1;
            self.source.functions.push(Function { name: name.to_string(), line, lines });
        }
    }

    /// The path that begins at a token, behind the parts of a `use` before it; gives the
    /// place behind it.
    fn path(&mut self, tokens: &[TokenTree], mut at: usize, before: &[String]) -> usize {
        let mut parts = before.to_vec();
        let mut line = 0;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(name)) => {
                    line = name.span().start().line;
                    let text = name.to_string();
                    // `a::{self}` is `a`.
                    if text != "self" || parts.is_empty() {
                        parts.push(text.clone());
                    }
                    self.source.names.push(Name { line, text });
                    at += 1;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    self.branches(group, &parts);
                    return at + 1;
                }
                // `a::*` and `a::<T>` are `a`.
                _ => break,
            }
            if !is_colons(&tokens[at..]) {
                break;
            }
            at += 2;
        }
        let parts = self.absolute(parts);
        self.source.paths.push(CodePath { line, parts });
        at
    }

    /// What stands in the braces of a `use`.
    fn branches(&mut self, group: &Group, before: &[String]) {
        let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Ident(word) if word == "as" => at + 2,
                TokenTree::Ident(_) => self.path(&tokens, at, before),
                _ => at + 1,
            };
        }
    }

    /// A path from `crate` on, if it is of this crate.
    fn absolute(&self, parts: Vec<String>) -> Vec<String> {
        let up = parts.iter().take_while(|part| *part == "super").count();
        let own = usize::from(up == 0 && parts.len() > 1 && parts[0] == "self");
        if up + own == 0 {
            return parts;
        }
        let kept = self.module.len().saturating_sub(up);
        let mut absolute = vec!["crate".to_owned()];
        absolute.extend_from_slice(&self.module[..kept]);
        absolute.extend_from_slice(&parts[up + own..]);
        absolute
    }

    /// The attribute at a `#`; gives the place behind it.
    fn attribute(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let (inner, group) = match &tokens[at + 1..] {
            [TokenTree::Group(group), ..] => (false, group),
            [TokenTree::Punct(sign), TokenTree::Group(group), ..] if sign.as_char() == '!' => {
                (true, group)
            }
            _ => return at + 1,
        };
        let content: Vec<TokenTree> = group.stream().into_iter().collect();
        match &content[..] {
            [TokenTree::Ident(word), TokenTree::Punct(_), TokenTree::Literal(_)]
                if word == "doc" =>
            {
                self.doc(word.span().start().line, inner && self.depth == 0);
            }
            [TokenTree::Ident(word), TokenTree::Group(given)]
                if inner && self.depth == 0 && word == "cfg_attr" =>
            {
                let given: Vec<TokenTree> = given.stream().into_iter().collect();
                // `not(test), deny(..)`
                if let [TokenTree::Ident(not), TokenTree::Group(test), _, lints @ ..] = &given[..]
                    && not == "not"
                    && test.stream().to_string() == "test"
                {
                    self.deny(lints);
                }
            }
            lints if inner && self.depth == 0 => self.deny(lints),
            _ => {}
        }
        // What is in it are tokens as others are.
        if inner { at + 2 } else { at + 1 }
    }

    fn deny(&mut self, tokens: &[TokenTree]) {
        let [TokenTree::Ident(word), TokenTree::Group(lints), ..] = tokens else { return };
        if word == "deny" || word == "forbid" {
            let lints = lints.stream().to_string().replace(' ', "");
            self.source.denied.extend(lints.split(',').map(str::to_owned));
        }
    }

    /// A line of a doc comment. `#[doc = ".."]` as code is none.
    fn doc(&mut self, line: usize, of_file: bool) {
        let Some(text) = self.text.get(line - 1) else { return };
        let line_of_doc = text.trim_start();
        let Some(text) = ["///", "//!"].iter().find_map(|sign| line_of_doc.strip_prefix(sign))
        else {
            return;
        };
        let text = text.trim();
        let docs = &mut self.source.docs;
        if let Some(last) = docs.last_mut()
            && last.of_file == of_file
            && last.line + last.lines == line
        {
            last.text.push(' ');
            last.text.push_str(text);
            last.lines += 1;
        } else {
            docs.push(Doc { line, lines: 1, text: text.to_owned(), of_file });
        }
    }
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ':');
    matches!(tokens, [first, second, ..] if is_colon(first) && is_colon(second))
}
