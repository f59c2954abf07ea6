//! `millrace compile`: a plugin's code, for a server to load.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{
    Resource, Rlimit, Signal, set_parent_process_death_signal, setpriority_process, setrlimit,
};

use super::say;
use crate::config::CompileConfig;
use crate::wasm::{FULL_RESERVATION, precompile};

#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    /// The plugin's component; `-` is stdin.
    #[arg(value_name = "FILE.wasm")]
    plugin: PathBuf,
    /// Where the code goes, instead of the cache; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Memory it may take, as `compile.max_memory_bytes`.
    #[arg(long, value_name = "BYTES", default_value_t = CompileConfig::default().max_memory_bytes)]
    max_memory_bytes: u64,
    /// How long it may take, as `compile.timeout_ms`, of each core.
    #[arg(long, value_name = "MS", default_value_t = CompileConfig::default().timeout_ms)]
    timeout_ms: u64,
    /// Address space that the server reserves for each memory.
    #[arg(long, value_name = "BYTES", hide = true, default_value_t = FULL_RESERVATION)]
    reservation: u64,
    /// On one thread, to which all others go before: a server serves clients meanwhile.
    #[arg(long, hide = true)]
    beside: bool,
}

/// The niceness beside a server: what is ready to run goes before, nearly always.
const BESIDE: i32 = 15;

/// Compiles.
pub(super) fn run(args: &CompileArgs) -> anyhow::Result<()> {
    args.bound_this_process().context("failed to bound what compiling may take")?;
    let plugin = args.plugin.display();
    let wasm = read(&args.plugin).with_context(|| format!("failed to read {plugin}"))?;
    let compiled = precompile(&wasm, args.reservation)?;
    match &args.output {
        Some(output) => write(output, &compiled.code)
            .with_context(|| format!("failed to write {}", output.display())),
        None if compiled.keep(&wasm) => {
            say(&format!("{plugin} is compiled, and kept for the next start"));
            Ok(())
        }
        None => bail!("the code of {plugin} was not kept; give --output"),
    }
}

impl CompileArgs {
    /// Whatever the file makes of the compiler, it ends within these bounds.
    fn bound_this_process(&self) -> io::Result<()> {
        let at_most = |most| Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(Resource::Data, at_most(self.max_memory_bytes))?;
        let cores = if self.beside { 1 } else { available_parallelism().map_or(1, usize::from) };
        // Rounded up, and some more: whoever waits for it looks at the clock itself.
        let seconds = self.timeout_ms.div_ceil(1000).saturating_mul(cores as u64);
        setrlimit(Resource::Cpu, at_most(seconds.saturating_add(1)))?;
        // There is nothing in it that a dump would tell.
        setrlimit(Resource::Core, at_most(0))?;
        if self.beside {
            setpriority_process(None, BESIDE)?;
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
            one.map_err(io::Error::other)?;
        }
        if is_standard(&self.plugin) {
            // Whoever reads its answer ends, and it does.
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        Ok(())
    }
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !is_standard(path) {
        return fs::read(path);
    }
    let mut wasm = Vec::new();
    io::stdin().read_to_end(&mut wasm)?;
    Ok(wasm)
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    if !is_standard(path) {
        return fs::write(path, code);
    }
    let mut stdout = io::stdout();
    stdout.write_all(code)?;
    stdout.flush()
}
