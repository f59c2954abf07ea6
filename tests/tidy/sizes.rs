//! How long files and functions are.

use crate::finding::{self, Finding};
use crate::rules::{
    FILE_LINES, FILE_LINES_WHY, FUNCTION_LINES, FUNCTION_LINES_WHY, LONG_FILES, LONG_FUNCTIONS,
};
use crate::source::{SOURCES, Source};

fn check_files(sources: &[Source], exceptions: &[(&str, usize, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let exception = exceptions.iter().find(|(path, ..)| *path == source.path);
        let most = exception.map_or(FILE_LINES, |(_, most, _)| *most);
        if source.lines > most {
            let found = format!("a file of {} lines", source.lines);
            let allowed = format!("{most} lines; divide it by subject");
            findings.push(Finding::new(&source.path, most + 1, found, allowed, FILE_LINES_WHY));
        }
    }
    let is_long =
        |path: &str| sources.iter().any(|file| file.path == path && file.lines > FILE_LINES);
    let needless = exceptions.iter().filter(|(path, ..)| !is_long(path));
    findings.extend(needless.map(|(path, ..)| Finding::needless("LONG_FILES", path)));
    findings
}

fn check_functions(sources: &[Source], exceptions: &[(&str, &str, usize, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for function in &source.functions {
            let exception = exceptions
                .iter()
                .find(|(path, name, ..)| *path == source.path && *name == function.name);
            let most = exception.map_or(FUNCTION_LINES, |(_, _, most, _)| *most);
            if function.lines > most {
                let found = format!("the function {} of {} lines", function.name, function.lines);
                let allowed = format!("{most} lines; give its parts names of their own");
                let line = function.line;
                findings.push(Finding::new(&source.path, line, found, allowed, FUNCTION_LINES_WHY));
            }
        }
    }
    let is_long = |path: &str, name: &str| {
        let files = sources.iter().filter(|source| source.path == path);
        let mut functions = files.flat_map(|source| &source.functions);
        functions.any(|function| function.name == name && function.lines > FUNCTION_LINES)
    };
    let needless = exceptions.iter().filter(|(path, name, ..)| !is_long(path, name));
    findings.extend(
        needless.map(|(path, name, ..)| {
            Finding::needless("LONG_FUNCTIONS", &format!("{path} -> {name}"))
        }),
    );
    findings
}

#[test]
fn files_are_short() {
    finding::none(&check_files(&SOURCES, LONG_FILES));
}

#[test]
fn functions_are_short() {
    finding::none(&check_functions(&SOURCES, LONG_FUNCTIONS));
}

#[test]
fn a_long_file_is_found_and_an_exception_that_is_not_needed() {
    let long = Source::new("host/a.rs", &"\n".repeat(FILE_LINES + 1));
    let longer = Source::new("host/b.rs", &"\n".repeat(FILE_LINES + 20));
    let short = Source::new("host/c.rs", &"\n".repeat(FILE_LINES));
    let sources = [long, longer, short];
    finding::are(
        &check_files(&sources, &[("host/b.rs", FILE_LINES + 20, "")]),
        &["host/a.rs:401: a file of 401 lines"],
    );
    let exceptions =
        [("host/a.rs", 401, ""), ("host/b.rs", FILE_LINES + 19, ""), ("host/c.rs", 500, "")];
    let expected = ["host/b.rs:420: a file of 420 lines", "tests/tidy/rules.rs:"];
    finding::are(&check_files(&sources, &exceptions), &expected);
}

#[test]
fn a_long_function_is_found_in_macros_too_and_an_exception_that_is_not_needed() {
    let lines = |count: usize| "    f();\n".repeat(count - 2);
    let text = format!(
        "trait T {{\n    fn none();\n}}\nfn most() {{\n{}}}\nproptest! {{\n    #[test]\n    \
         fn long(\n        a: u8,\n    ) {{\n{}    }}\n}}\n",
        lines(FUNCTION_LINES),
        lines(FUNCTION_LINES - 1),
    );
    let source = [Source::new("tests/a.rs", &text)];
    let expected = ["tests/a.rs:76: the function long of 71 lines"];
    finding::are(&check_functions(&source, &[]), &expected);
    let exceptions = [("tests/a.rs", "long", 71, ""), ("tests/a.rs", "most", 80, "")];
    finding::are(&check_functions(&source, &exceptions), &["tests/tidy/rules.rs:"]);
}
