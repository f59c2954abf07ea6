//! Compiling in a process of its own (`millrace compile`).
//!
//! How much memory a compiler needs for a file is only known when it is done, it cannot be stopped
//! on the way, and what it has used stays with its process. So it runs in another process, of the
//! same program, with limits of memory and time. It gets the component over stdin and answers with
//! the code over stdout.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use millrace_wasm::LoadError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::CompilePriority;
use crate::config::CompileConfig;

/// The most bytes of code of one component; more is an error.
const MAX_CODE_BYTES: u64 = 256 * 1024 * 1024;
/// The most bytes that are kept of what the compiler writes to stderr.
const MAX_SAID_BYTES: u64 = 16 * 1024;

/// Compiles a component in a process of its own, at full priority, for an engine that reserves
/// `reservation` bytes of addresses for each memory.
pub(crate) async fn compile(
    config: &CompileConfig,
    wasm: &[u8],
    reservation: u64,
) -> Result<Vec<u8>, LoadError> {
    let no_program = || LoadError::NoProcess(std::io::ErrorKind::NotFound.into());
    let compiler = Compiler::new(config).ok_or_else(no_program)?;
    compiler.compile(wasm, reservation, CompilePriority::Foreground).await
}

/// Starts compiler processes, one at a time.
#[derive(Clone, Debug)]
pub(super) struct Compiler {
    config: CompileConfig,
    /// The permit of the one process that may run, so that its limits are those of all.
    turn: Arc<Semaphore>,
}

impl Compiler {
    /// `None` if no program for it is configured.
    pub(super) fn new(config: &CompileConfig) -> Option<Self> {
        let config = config.clone();
        config.program.is_some().then(|| Self { config, turn: Arc::new(Semaphore::new(1)) })
    }

    /// Compiles a component for an engine that reserves `reservation` bytes of addresses for each
    /// memory. Dropping the future ends the process.
    ///
    /// # Errors
    ///
    /// The compiler could not be started, refused the component, crashed, or needed too much memory
    /// or time.
    pub(super) async fn compile(
        &self,
        wasm: &[u8],
        reservation: u64,
        priority: CompilePriority,
    ) -> Result<Vec<u8>, LoadError> {
        // An error only if the semaphore were closed, and it never is.
        let _turn = self.turn.acquire().await;
        let child = self.command(reservation, priority).spawn().map_err(LoadError::NoProcess)?;
        let ended = tokio::time::timeout(self.config.timeout(), answer(child, wasm)).await;
        let ended = ended.map_err(|_| self.took_too_long())?;
        let (status, code, said) = ended.map_err(LoadError::NoProcess)?;
        if status.success() {
            return Ok(code);
        }
        Err(self.refused(status, &said))
    }

    fn command(&self, reservation: u64, priority: CompilePriority) -> Command {
        let CompileConfig { max_memory_bytes, timeout_ms, program } = &self.config;
        let mut command = Command::new(program.as_deref().unwrap_or("millrace".as_ref()));
        command
            .args(["compile", "-", "--output", "-"])
            .args(["--max-memory-bytes", &max_memory_bytes.to_string()])
            .args(["--timeout-ms", &timeout_ms.to_string()])
            .args(["--reservation", &reservation.to_string()])
            .args((priority == CompilePriority::Background).then_some("--beside"))
            // The environment may have secrets of the configuration, which a compiler does not
            // need.
            .env_clear()
            .env("RUST_LOG", "error")
            // Memory that the allocator takes in advance would count as used.
            .env("MIMALLOC_ARENA_RESERVE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the server only, which ends the compiler when it stops.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// The error of a compiler that has made no code.
    fn refused(&self, status: ExitStatus, said: &str) -> LoadError {
        let CompileConfig { max_memory_bytes, .. } = self.config;
        let lacks_memory =
            ["memory allocation of", "Cannot allocate memory"].iter().any(|w| said.contains(w));
        match status.signal() {
            Some(libc::SIGXCPU) => self.took_too_long(),
            Some(libc::SIGKILL) => LoadError::TooMuchMemory { max_memory_bytes },
            _ if lacks_memory => LoadError::TooMuchMemory { max_memory_bytes },
            // The compiler has found the component wrong.
            None if status.code() == Some(1) => {
                LoadError::Refused(said.trim_start_matches("error: ").trim_end().to_owned())
            }
            _ => LoadError::Crashed { status: status.to_string(), said: said.trim().to_owned() },
        }
    }

    fn took_too_long(&self) -> LoadError {
        LoadError::TooLong { timeout_ms: self.config.timeout_ms }
    }
}

/// Sends a component to the compiler. Returns the exit status, the code and what was written to
/// stderr.
async fn answer(mut child: Child, wasm: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>, String)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut code, mut said) = (Vec::new(), Vec::new());
    let hand_in = async {
        if let Some(mut stdin) = stdin {
            // The compiler may have ended before it has read everything.
            let _ = stdin.write_all(wasm).await;
        }
    };
    let take_code = async {
        match stdout {
            Some(stdout) => stdout.take(MAX_CODE_BYTES).read_to_end(&mut code).await,
            None => Ok(0),
        }
    };
    let listen = async {
        match stderr {
            Some(stderr) => stderr.take(MAX_SAID_BYTES).read_to_end(&mut said).await,
            None => Ok(0),
        }
    };
    let ((), code_read, said_read) = tokio::join!(hand_in, take_code, listen);
    code_read.and(said_read)?;
    Ok((child.wait().await?, code, String::from_utf8_lossy(&said).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: i32, said: &str) -> String {
        let program = Some("/bin/true".into());
        let config = CompileConfig { max_memory_bytes: 7, timeout_ms: 9, program };
        let compiler = Compiler::new(&config).unwrap();
        compiler.refused(ExitStatus::from_raw(status), said).to_string()
    }

    #[test]
    fn what_went_wrong_names_the_key() {
        for (status, said, parts) in [
            (6, "memory allocation of 9 bytes failed", ["7 bytes", "compile.max_memory_bytes"]),
            (9, "", ["7 bytes", "compile.max_memory_bytes"]),
            (24, "", ["9 ms", "compile.timeout_ms"]),
            (1 << 8, "error: is no component\n", ["is no component", ""]),
            (11, "", ["the compiler ended with", "signal: 11"]),
        ] {
            let problem = refused(status, said);
            assert!(parts.iter().all(|part| problem.contains(part)), "{status}: {problem}");
        }
        assert_eq!(refused(1 << 8, "error: is no component\n"), "is no component");
    }

    #[tokio::test]
    async fn a_program_that_does_not_answer_is_given_up() {
        let program = Some("/bin/cat".into());
        let config = CompileConfig { program, ..CompileConfig::default() };
        let compiler = Compiler::new(&config).unwrap();
        let problem = compiler.compile(b"wasm", 0, CompilePriority::Background).await.unwrap_err();
        assert!(problem.to_string().contains("cat"), "{problem}");
    }
}
