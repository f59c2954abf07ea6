//! `millrace compile`: compiles a plugin's code, for a server to load.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use millrace_wasm::{FULL_RESERVATION, LoadError, Precompiled, precompile};
use rustix::process::{
    Resource, Rlimit, Signal, set_parent_process_death_signal, setpriority_process, setrlimit,
};

use super::say;
use super::serve::this_program;
use crate::config::{CacheConfig, CompileConfig};
use crate::loader::compile;

#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    /// The plugin's component; `-` is stdin.
    #[arg(value_name = "FILE.wasm")]
    plugin: PathBuf,
    /// Where the code goes, instead of the cache; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The folder of the cache, as `cache.dir`; default: the user's.
    #[arg(long, value_name = "DIR", env = "MILLRACE_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Memory it may take, as `compile.max_memory_bytes`.
    #[arg(long, value_name = "BYTES", default_value_t = CompileConfig::default().max_memory_bytes)]
    max_memory_bytes: u64,
    /// How long it may take, as `compile.timeout_ms`.
    #[arg(long, value_name = "MS", default_value_t = CompileConfig::default().timeout_ms)]
    timeout_ms: u64,
    /// Address space that the server reserves for each memory.
    #[arg(long, value_name = "BYTES", hide = true, default_value_t = FULL_RESERVATION)]
    reservation: u64,
    /// On one thread, to which all others go before: a server serves clients meanwhile.
    #[arg(long, hide = true)]
    beside: bool,
}

/// The niceness of a compiler beside a server: nearly always, all other work goes first.
const NICENESS_BESIDE_SERVER: i32 = 15;

/// Runs the command.
pub(super) fn run(args: &CompileArgs) -> anyhow::Result<()> {
    let to_stdout = args.output.as_deref().is_some_and(is_standard);
    if is_standard(&args.plugin) && to_stdout {
        // In a process that a server has started, which reports its result.
        args.limit_this_process().context("failed to bound what compiling may take")?;
        let wasm = read(&args.plugin).context("failed to read stdin")?;
        return Ok(write(Path::new("-"), &precompile(&wasm, args.reservation)?.code)?);
    }
    let plugin = args.plugin.display();
    let wasm = read(&args.plugin).with_context(|| format!("failed to read {plugin}"))?;
    let compiled = args.in_its_own_process(&wasm).map_err(|error| anyhow!("{plugin} {error}"))?;
    match &args.output {
        Some(output) => write(output, &compiled.code)
            .with_context(|| format!("failed to write {}", output.display())),
        None if compiled.keep(&wasm, &args.cache()) => {
            say(&format!("{plugin} is compiled, and kept for the next start"));
            Ok(())
        }
        None => bail!("the code of {plugin} was not kept; give --output"),
    }
}

impl CompileArgs {
    /// The cache in which the code is stored.
    fn cache(&self) -> CacheConfig {
        let dir = self.cache_dir.clone().filter(|dir| !dir.as_os_str().is_empty());
        CacheConfig { dir, ..CacheConfig::default() }
    }

    /// Compiles as a server does, with the same error texts.
    fn in_its_own_process(&self, wasm: &[u8]) -> Result<Precompiled, LoadError> {
        let &Self { max_memory_bytes, timeout_ms, reservation, .. } = self;
        let config = CompileConfig { max_memory_bytes, timeout_ms, program: this_program() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(LoadError::NoProcess)?;
        let code = runtime.block_on(compile(&config, wasm, reservation))?;
        Precompiled::of(code, reservation)
    }

    /// Limits memory, processor time and threads of this process, whatever the file makes the
    /// compiler do.
    fn limit_this_process(&self) -> io::Result<()> {
        let at_most = |most| Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(Resource::Data, at_most(self.max_memory_bytes))?;
        let cores = if self.beside { 1 } else { available_parallelism().map_or(1, usize::from) };
        // Rounded up, and a second more: the process that waits for this one has a timeout of its
        // own.
        let seconds = self.timeout_ms.div_ceil(1000).saturating_mul(cores as u64);
        setrlimit(Resource::Cpu, at_most(seconds.saturating_add(1)))?;
        // A core dump would help nobody.
        setrlimit(Resource::Core, at_most(0))?;
        if self.beside {
            setpriority_process(None, NICENESS_BESIDE_SERVER)?;
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
            one.map_err(io::Error::other)?;
        }
        if is_standard(&self.plugin) {
            // Ends this process when the one that reads its output ends.
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
