//! The command line of `millrace`.

mod admin;
mod args;
mod build;
mod check;
mod compile;
mod dev;
mod dev_secret;
mod dev_session;
mod duration;
mod frame;
mod pipelines;
mod plugins;
mod running;
mod serve;
mod sockets;
mod swap;
mod table;
mod terminal;
mod token;
mod top;
mod value;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use millrace_telemetry::{LogFormat, init_log, metrics_table, write_line};

use self::admin::AdminArgs;
use self::args::{DevArgs, ServeArgs};
use self::compile::CompileArgs;
use self::pipelines::DeadLetters;
use self::running::block_on;
use self::swap::SwapArgs;
use self::table::Table;
use self::token::TokenCommand;
use crate::config::App;
use crate::net::Inherited;

/// A real-time server for Phoenix Channels clients whose channels are sandboxed
/// Wasm components.
#[derive(Debug, Parser)]
#[command(name = "millrace", version = env!("MILLRACE_VERSION"), after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines on stderr look (default: MILLRACE_LOG, or else text); RUST_LOG
    /// chooses which (default: info).
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log: Option<LogFormat>,
}

const EXAMPLES: &str = "\
Examples:
  millrace dev examples/chat              build, serve, and rebuild on every change
  millrace build examples/chat            build the plugins of an app
  millrace serve examples/chat            serve what was built
  millrace serve room.wasm --listen :0    serve one plugin on a port the system chooses
  millrace check room.wasm                say what a plugin exports, imports and lacks
  millrace top                            watch a running server with [admin]";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve an app, or a single plugin.
    ///
    /// Plugins that have not been built yet are built first.
    #[command(after_help = "\
Examples:
  millrace serve examples/chat
  millrace serve room.wasm --listen 0.0.0.0:4000
  millrace serve examples/chat --log json
  millrace serve examples/chat --statsd 127.0.0.1:8125")]
    Serve(ServeArgs),
    /// Build an app, serve it, and build and reload it on every change.
    ///
    /// Clients stay connected; a version that does not build or load leaves the
    /// one before it running. A changed millrace.toml has the server start anew, and
    /// clients come back. Each call gets an instance of its own, so that a plugin that
    /// keeps something in a static fails here and not in production.
    #[command(after_help = "\
Examples:
  millrace dev examples/chat
  millrace dev examples/chat --poll-ms 300")]
    Dev(DevArgs),
    /// Build the plugins of an app, and install the packages of its page.
    #[command(after_help = "\
Example:
  millrace build examples/chat")]
    Build {
        /// The app's folder.
        #[arg(value_name = "DIR")]
        app: PathBuf,
    },
    /// Say what a plugin exports and imports, and whether this host can run it.
    #[command(after_help = "\
Example:
  millrace check target/wasm32-wasip2/release/room.wasm")]
    Check {
        /// The plugin's component.
        #[arg(value_name = "FILE.wasm")]
        plugin: PathBuf,
    },
    /// Compile a plugin, so that the next start finds it compiled.
    ///
    /// Servers compile by it, each plugin in a process of its own with bounds on its memory
    /// and time. Code is for the same version of millrace on the same kind of machine.
    #[command(after_help = "\
Examples:
  millrace compile room.wasm
  millrace compile room.wasm --output room.cwasm")]
    Compile(CompileArgs),
    /// List the plugins of a running server: versions, topics, instances, faults.
    #[command(after_help = "\
Examples:
  millrace plugins
  millrace plugins --admin :4001 --json")]
    Plugins {
        #[command(flatten)]
        server: AdminArgs,
    },
    /// Make another component the live version of a plugin, while clients stay
    /// connected.
    ///
    /// It is checked, compiled, tested and tried on what channels remember first; the
    /// running version goes on if any of that fails. Exits with 1 if it is refused or
    /// rolled back.
    #[command(after_help = "\
Examples:
  millrace swap room room.wasm
  millrace swap room room.wasm --canary 5% --watch 30s
  millrace swap room room.wasm --admin :4001")]
    Swap {
        #[command(flatten)]
        what: SwapArgs,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// Make the version before live again at once, or withdraw the canary.
    #[command(after_help = "\
Example:
  millrace rollback room")]
    Rollback {
        /// The plugin.
        #[arg(value_parser = admin::name)]
        name: String,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// Make a canary the live version.
    #[command(after_help = "\
Example:
  millrace promote room")]
    Promote {
        /// The plugin.
        #[arg(value_parser = admin::name)]
        name: String,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// List the last exchanges of a plugin's versions: when, by whom, and what became
    /// of them.
    #[command(after_help = "\
Example:
  millrace history room")]
    History {
        /// The plugin.
        #[arg(value_parser = admin::name)]
        name: String,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// List the pipelines of a running server, and what became of their events.
    #[command(after_help = "\
Example:
  millrace pipelines")]
    Pipelines {
        #[command(flatten)]
        server: AdminArgs,
    },
    /// Switch the dispatcher of a pipeline while events flow.
    #[command(after_help = "\
Examples:
  millrace swap-dispatcher jobs fair
  millrace swap-dispatcher jobs fair.wasm
  millrace swap-dispatcher jobs demand --stage 0")]
    SwapDispatcher {
        /// The pipeline.
        #[arg(value_parser = admin::name)]
        pipeline: String,
        /// `demand`, `partition`, or a plugin that exports `dispatcher`; or a file that is
        /// to be the next version of the plugin it has, as by `millrace swap`.
        #[arg(value_name = "NAME|FILE.wasm")]
        dispatcher: String,
        /// The stage, counted from 0; the last one unless given.
        #[arg(long)]
        stage: Option<usize>,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// List, replay or purge the events that a server's pipelines have given up.
    #[command(after_help = "\
Examples:
  millrace dead-letters list jobs
  millrace dead-letters replay jobs --numbers 4,7
  millrace dead-letters purge jobs --admin 127.0.0.1:4001")]
    DeadLetters {
        #[command(subcommand)]
        what: DeadLetters,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// List the connections of a running server.
    #[command(after_help = "\
Examples:
  millrace sockets
  millrace sockets --user ada")]
    Sockets {
        /// Those of this user id alone.
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// Close every connection of a user.
    ///
    /// Client libraries come back by themselves, and are asked anew who they are.
    #[command(after_help = "\
Example:
  millrace disconnect ada")]
    Disconnect {
        /// The user id, as a plugin's `connect` gave it, or the client's token.
        user: String,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// Watch a running server, once a second.
    ///
    /// Connections, messages, plugins, pipelines, faults. `q` or Ctrl-C ends it.
    #[command(after_help = "\
Examples:
  millrace top
  millrace top --once")]
    Top {
        /// Print one frame, and end.
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        server: AdminArgs,
    },
    /// Make and read tokens of clients, for development.
    #[command(after_help = "\
Examples:
  millrace token make examples/chat --user ada
  millrace token read eyJhbGciOi… examples/chat")]
    Token {
        #[command(subcommand)]
        what: TokenCommand,
    },
    /// List what the server measures: names, types, units and labels, as a table
    /// in Markdown.
    Metrics,
}

/// Runs the program. The exit code is 0 after a clean stop, 1 when something failed, and 2 for
/// invalid arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The guard of the log, which writes the last lines when it is dropped, lives until the end.
    let default = if matches!(cli.command, Command::Dev(_)) { dev::LOG } else { "info" };
    let format = match log_format(cli.log) {
        Ok(format) => format,
        Err(problem) => Cli::command().error(ErrorKind::InvalidValue, problem).exit(),
    };
    // This changes the environment, so there may be no second thread yet.
    let inherited = match cli.command {
        Command::Serve(_) => Inherited::take(),
        _ => Ok(Inherited::default()),
    };
    let _log = match init_log(format, default) {
        Ok(log) => log,
        Err(_) => return ExitCode::FAILURE,
    };
    match run(&cli.command, inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            write_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, inherited: io::Result<Inherited>) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => {
            let inherited = inherited.context("failed to take the sockets of LISTEN_FDS")?;
            block_on(serve::run(args.load()?, inherited))
        }
        Command::Dev(args) => block_on(dev::run(args)),
        Command::Build { app } => build::run(&App::load(app)?),
        Command::Metrics => {
            say(metrics_table().trim_end());
            Ok(())
        }
        Command::Plugins { server } => block_on(plugins::show(server)),
        Command::Swap { what, server } => block_on(swap::swap(server, what)),
        Command::Rollback { name, server } => block_on(swap::exchange(server, name, "rollback")),
        Command::Promote { name, server } => block_on(swap::exchange(server, name, "promote")),
        Command::History { name, server } => block_on(swap::history(server, name)),
        Command::Pipelines { server } => block_on(pipelines::show(server)),
        Command::SwapDispatcher { pipeline, dispatcher, stage, server } => {
            block_on(pipelines::swap_dispatcher(server, pipeline, dispatcher, *stage))
        }
        Command::DeadLetters { what, server } => block_on(pipelines::dead_letters(server, what)),
        Command::Sockets { user, server } => block_on(sockets::show(server, user.as_deref())),
        Command::Disconnect { user, server } => block_on(sockets::disconnect(server, user)),
        Command::Top { once, server } => block_on(top::run(server, *once)),
        Command::Token { what } => block_on(token::run(what)),
        Command::Compile(args) => compile::run(args),
        Command::Check { plugin } => block_on(check::run(plugin)),
    }
}

/// The format of log lines: that of the option, or else of `MILLRACE_LOG`.
fn log_format(option: Option<LogFormat>) -> Result<LogFormat, String> {
    let variable = std::env::var("MILLRACE_LOG").unwrap_or_default();
    match option {
        Some(format) => Ok(format),
        None if variable.is_empty() => Ok(LogFormat::default()),
        None => LogFormat::from_str(&variable, true)
            .map_err(|_| format!("MILLRACE_LOG is {variable:?}; text and json are allowed")),
    }
}

/// Prints a line on stdout, for people and for scripts.
fn say(line: &str) {
    use std::io::Write;
    // The reader of stdout may have gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a table on stdout, or a text in its place if it is empty.
fn print(table: &Table, if_empty: &str) {
    if table.is_empty() {
        return say(if_empty);
    }
    table.lines().iter().for_each(|line| say(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
