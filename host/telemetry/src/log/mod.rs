//! Logs on stderr, for people or for machines.
//!
//! ```text
//! threads ──line──▶ Queue (bounded, never waited for) ──thread `log`──▶ stderr
//! ```
//!
//! The reader of stderr may be slow or go away, and that must not slow the server down: lines for
//! which there is no room are counted and dropped, and errors of writing are ignored. Text of
//! clients and plugins cannot look like a line of its own ([`fields`]), and lines that they cause
//! are limited ([`LogLimiter`]).

mod fields;
mod limiter;
mod panics;
mod queue;

pub use limiter::{LogLimiter, Passed};
pub use queue::LogGuard;
pub use queue::{dropped_lines, write_line};

use std::io::{self, IsTerminal};

use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::debug_fn;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For reading.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging, which ends when the guard is dropped. `RUST_LOG` chooses the lines in the syntax
/// of tracing's `EnvFilter`; if it is not set or empty, `default` does.
///
/// # Errors
///
/// The thread that writes cannot be started.
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
             warn, info, debug, trace and off, alone or of a part: \"info,millrace_session=trace\""
        );
    }
    Ok(guard)
}

/// The filter for the text `asked`, and what is wrong with that text. A text that names no part of
/// this program would turn its whole log off, so `default` is added to it.
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

/// Limits directives that are only a level to this program: at `debug`, the parsers and compilers
/// it is built with log each step, and whoever wants that can name them.
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
            ("millrace_wire=trace", false),
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
            ("millrace_session=trace,info", "millrace_session=trace,info,millrace=info"),
            ("[call{id=1-2}]=debug", "[call{id=1-2}]=debug"),
        ] {
            assert_eq!(of_this_program(asked), expected);
            EnvFilter::try_new(expected).unwrap();
        }
    }
}
