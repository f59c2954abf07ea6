//! The command line.

mod build;
mod check;
mod dev;
mod pipelines;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::pipelines::{DeadLetters, ServerArgs};
use crate::config::App;
use crate::telemetry::{Dialect, LogFormat, init_log, metrics_table};

/// A real-time server for Phoenix Channels clients whose channels are sandboxed
/// Wasm components.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines on stderr look; RUST_LOG chooses which (default: info).
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    log: LogFormat,
}

const EXAMPLES: &str = "\
Examples:
  millrace dev examples/chat              build, serve, and rebuild on every change
  millrace build examples/chat            build the plugins of an app
  millrace serve examples/chat            serve what was built
  millrace serve room.wasm --listen :0    serve one plugin on a port the system chooses
  millrace check room.wasm                say what a plugin exports, imports and lacks";

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
    /// one before it running.
    #[command(after_help = "\
Example:
  millrace dev examples/chat")]
    Dev(ServeArgs),
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
    /// Print what became of the events of a server's pipelines, one JSON object in
    /// each line.
    ///
    /// The server needs `[admin] enabled = true`.
    #[command(after_help = "\
Example:
  millrace pipelines --server http://127.0.0.1:4000")]
    Pipelines {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Switch the dispatcher of a pipeline while events flow.
    ///
    /// The server needs `[admin] enabled = true`.
    #[command(after_help = "\
Example:
  millrace dispatcher jobs fair")]
    Dispatcher {
        /// The pipeline.
        pipeline: String,
        /// `demand`, `partition`, or a plugin that exports `dispatcher`.
        dispatcher: String,
        /// The stage, counted from 0; the last one unless given.
        #[arg(long)]
        stage: Option<usize>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List, replay or purge the events that a server's pipelines have given up.
    ///
    /// The server needs `[admin] enabled = true`.
    #[command(after_help = "\
Examples:
  millrace dead-letters list jobs
  millrace dead-letters replay jobs --numbers 4,7
  millrace dead-letters purge jobs --server http://127.0.0.1:4000")]
    DeadLetters {
        #[command(subcommand)]
        what: DeadLetters,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List what the server measures: names, types, units and labels, as a table
    /// in Markdown.
    Metrics,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The app's folder, its millrace.toml, or a plugin's .wasm file.
    #[arg(value_name = "DIR|FILE")]
    app: PathBuf,
    /// Where to listen, instead of `listen` in millrace.toml (default:
    /// 127.0.0.1:4000). `:PORT` listens on 127.0.0.1; port 0 lets the system
    /// choose, and the choice is printed.
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Where measurements go, instead of `statsd.address` in millrace.toml:
    /// `HOST:PORT` over UDP, or `unix:PATH`.
    #[arg(long, value_name = "HOST:PORT")]
    statsd: Option<String>,
    /// What the StatsD server understands, instead of `statsd.dialect`.
    #[arg(long, value_enum, value_name = "DIALECT", requires = "statsd")]
    statsd_dialect: Option<Dialect>,
}

impl ServeArgs {
    fn load(&self) -> anyhow::Result<App> {
        let mut app = App::load(&self.app)?;
        if let Some(listen) = self.listen {
            app.listen = listen;
        }
        if let Some(address) = &self.statsd {
            let statsd = app.statsd.get_or_insert_default();
            statsd.address.clone_from(address);
            if let Some(dialect) = self.statsd_dialect {
                statsd.dialect = dialect;
            }
        }
        Ok(app)
    }
}

/// Runs the program. Exit code 0 after a clean stop, 1 when something failed, 2
/// for a command line that makes no sense.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    init_log(cli.log);
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => runtime()?.block_on(serve::run(args.load()?)),
        Command::Dev(args) => runtime()?.block_on(dev::run(args.load()?)),
        Command::Build { app } => build::run(&App::load(app)?),
        Command::Metrics => {
            say(metrics_table().trim_end());
            Ok(())
        }
        Command::Pipelines { server } => runtime()?.block_on(pipelines::show(server)),
        Command::Dispatcher { pipeline, dispatcher, stage, server } => {
            runtime()?.block_on(pipelines::dispatcher(server, pipeline, dispatcher, *stage))
        }
        Command::DeadLetters { what, server } => {
            runtime()?.block_on(pipelines::dead_letters(server, what))
        }
        Command::Check { plugin } => runtime()?.block_on(check::run(plugin)),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() };
    full.parse().map_err(|_| {
        "an address and a port such as 127.0.0.1:4000, [::1]:4000 or :0 is expected".to_owned()
    })
}

/// A line on stdout, for people and for scripts.
fn say(line: &str) {
    use std::io::Write;
    // Whoever reads may have gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The error that ends the program, on stderr.
fn report(error: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "error: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(listen_address(":0"), Ok(([127, 0, 0, 1], 0).into()));
        assert!(listen_address("localhost").unwrap_err().contains("127.0.0.1:4000"));
    }
}
