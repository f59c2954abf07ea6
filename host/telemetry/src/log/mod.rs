//! Logs on stderr, for people or for machines.
//!
//! ```text
//! threads ──line──▶ Queue (bounded, never waited for) ──thread `log`──▶ stderr
//! ```
//!
//! Whoever reads stderr may stall or go away, and whoever is served is not to notice:
//! lines that find no room are counted and left out, and a write that fails is forgotten.
//! What clients and plugins have a say in cannot look like a line of its own ([`fields`]),
//! and lines that they cause are told [`Seldom`].

mod fields;
mod panics;
mod queue;
mod seldom;

pub use queue::LogGuard;
pub use queue::{dropped_lines, tell};
pub use seldom::{Passed, Seldom};

use std::io::{self, IsTerminal};

use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::debug_fn;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For reading.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging, which ends with the guard. `RUST_LOG` chooses what (`default` unless set, and
/// not empty), in the syntax of tracing's `EnvFilter`. An error when there can be no thread for it.
pub fn init(format: LogFormat, default: &str) -> io::Result<LogGuard> {
    let guard = queue::start()?;
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let (filter, problem) = filter(&asked, default);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(queue::Line::new);
    // Errors of writing would be written to stderr, which panics if it is closed.
    let builder = builder.log_internal_errors(false);
    let builder = builder.with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => {
            let fields = debug_fn(fields::write).delimited(" ");
            builder.with_target(false).fmt_fields(fields).init();
        }
        LogFormat::Json => builder.json().init(),
    }
    panics::log_them();
    if let Some(problem) = problem {
        warn!(
            "RUST_LOG is {asked:?}, which {problem}, and {default:?} is taken; levels are error, \
             warn, info, debug, trace and off, alone or of a part: \"info,millrace::session=trace\""
        );
    }
    Ok(guard)
}

/// The filter that is asked for, and what is wrong with that: what says nothing of this
/// program would turn its log off.
fn filter(asked: &str, default: &str) -> (EnvFilter, Option<String>) {
    let of_millrace = |directive: &str| {
        let directive = directive.trim();
        directive.parse::<LevelFilter>().is_ok()
            || directive.starts_with("millrace")
            || directive.starts_with('[')
    };
    let is_of_us = asked.split(',').any(of_millrace);
    match EnvFilter::try_new(of_this_program(asked)) {
        _ if asked.is_empty() => (EnvFilter::new(default), None),
        Err(error) => (EnvFilter::new(default), Some(format!("cannot be read ({error})"))),
        Ok(filter) if is_of_us => (filter, None),
        Ok(_) => {
            let problem = "has no level and no part of Millrace".to_owned();
            (EnvFilter::new(format!("{default},{asked}")), Some(problem))
        }
    }
}

/// Directives in which a level alone is one of this program: of what it is built with,
/// parsers and compilers tell of each step at `debug`, and that is for whoever names them.
fn of_this_program(directives: &str) -> String {
    let narrowed = directives.split(',').map(|directive| match directive.trim().parse() {
        Ok(level) => format!("{},millrace={level}", LevelFilter::INFO.min(level)),
        Err(_) => directive.to_owned(),
    });
    narrowed.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_of_this_program_is_told() {
        for (asked, problem) in [
            ("", false),
            ("debug", false),
            ("millrace::wire=trace", false),
            ("[call{id=1-2}]=debug", false),
            ("hyper=debug,WARN", false),
            ("wran", true),
            ("hyper=debug", true),
            ("millrace=loud", true),
        ] {
            let (filter, found) = filter(asked, "info");
            assert_eq!(found.is_some(), problem, "{asked}: {found:?}");
            assert!(
                filter.max_level_hint().is_none_or(|most| most >= LevelFilter::WARN),
                "{asked}"
            );
        }
    }

    #[test]
    fn a_level_alone_is_of_this_program() {
        for (asked, expected) in [
            ("debug", "info,millrace=debug"),
            ("TRACE", "info,millrace=trace"),
            ("warn", "warn,millrace=warn"),
            ("off", "off,millrace=off"),
            ("debug,wit_parser=debug", "info,millrace=debug,wit_parser=debug"),
            ("millrace::session=trace,info", "millrace::session=trace,info,millrace=info"),
            ("[call{id=1-2}]=debug", "[call{id=1-2}]=debug"),
        ] {
            assert_eq!(of_this_program(asked), expected);
            EnvFilter::try_new(expected).unwrap();
        }
    }
}
