//! A running server.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::{App, BUILD_PATIENCE, PATIENCE, TestClient, TestSocket, binary};

/// `millrace serve` as a process of its own. It ends with the last handle; when
/// a test fails, its handle prints what the server logged.
#[derive(Debug)]
pub struct TestServer {
    process: Arc<Process>,
}

#[derive(Debug)]
struct Process {
    child: Mutex<Child>,
    /// `127.0.0.1:PORT`.
    address: String,
    /// That of its admin interface, once a test has asked for it.
    admin: OnceLock<String>,
    /// What else it prints.
    addresses: Mutex<Receiver<String>>,
    log: Arc<Log>,
    /// Its stderr, while nobody reads it.
    unread: Mutex<Option<ChildStderr>>,
    /// Gets nothing, and ends when stdout and stderr have been read to their ends.
    end: Mutex<Receiver<()>>,
    /// A temporary folder has to stay as long as the process.
    _app: App,
}

/// Who reads what a server logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The test, as it comes.
    There,
    /// Nobody, and the pipe has room for 64 KiB; until [`TestServer::read_log`].
    Stalled,
    /// Nobody, and the pipe is closed.
    Gone,
}

/// How a server is started.
#[derive(Debug)]
pub(crate) struct Start {
    /// More environment variables.
    pub(crate) environment: Vec<(String, String)>,
    /// More arguments on the command line.
    pub(crate) arguments: Vec<String>,
    /// Where it listens, unless its configuration says so.
    pub(crate) listen: Option<String>,
    pub(crate) reader: Reader,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            environment: Vec::new(),
            arguments: Vec::new(),
            listen: Some("127.0.0.1:0".to_owned()),
            reader: Reader::There,
        }
    }
}

/// What has come from stderr.
#[derive(Debug, Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl TestServer {
    /// The server of the probe that all tests of a process share. It starts with
    /// the first test that needs it and ends with the last.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: Mutex<Weak<Process>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = shared.upgrade() {
            return Self { process };
        }
        let server = App::probe().serve();
        *shared = Arc::downgrade(&server.process);
        server
    }

    /// `millrace COMMAND` for an app.
    pub(crate) fn launch(command: &str, app: App) -> Self {
        let Start { environment, arguments, listen, reader } = app.start();
        let listen = listen.iter().flat_map(|address| ["--listen", address.as_str()]);
        let mut child = Command::new(binary())
            .arg(command)
            .arg(app.path())
            .args(listen)
            .args(arguments)
            // It is the tests' own.
            .env_remove("MILLRACE_BIN")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the millrace program can be started");
        let log = Arc::<Log>::default();
        let stderr = child.stderr.take().expect("stderr is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (running, end) = channel();
        let unread = match reader {
            Reader::There => {
                keep(stderr, Arc::clone(&log), running.clone());
                None
            }
            Reader::Stalled => Some(stderr),
            Reader::Gone => None,
        };
        let addresses = watch(stdout, running);
        let Ok(address) = addresses.recv_timeout(BUILD_PATIENCE) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server did not say where it listens:\n{}", locked(&log.text));
        };
        let (child, end, addresses) = (Mutex::new(child), Mutex::new(end), Mutex::new(addresses));
        let (admin, unread) = (OnceLock::new(), Mutex::new(unread));
        let process = Process { child, address, admin, addresses, log, unread, end, _app: app };
        Self { process: Arc::new(process) }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.process.address
    }

    /// The next address that it has printed and nobody has asked for: of a further
    /// listener, and that of the admin interface last.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn next_address(&self) -> String {
        let next = locked(&self.process.addresses).recv_timeout(PATIENCE);
        next.expect("the server says where it listens besides")
    }

    /// `127.0.0.1:PORT` of its admin interface.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn admin(&self) -> &str {
        self.process.admin.get_or_init(|| {
            let next = locked(&self.process.addresses).recv_timeout(PATIENCE);
            next.expect("the server has an admin interface, and says where")
        })
    }

    /// What the server has logged until now.
    #[must_use]
    pub fn log(&self) -> String {
        locked(&self.process.log.text).clone()
    }

    /// Reads what nobody has read until now, and what comes.
    pub fn read_log(&self) {
        if let Some(stderr) = locked(&self.process.unread).take() {
            // Its end is not waited for.
            let (running, _) = channel();
            keep(stderr, Arc::clone(&self.process.log), running);
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        locked(&self.process.child).id()
    }

    /// A client that speaks version 2, as phoenix.js does.
    pub async fn client(&self) -> TestClient {
        TestClient::connect(self.address()).await
    }

    /// A connection that speaks version 1: no `vsn` in its query.
    pub async fn v1_socket(&self) -> TestSocket {
        TestSocket::connect(self.address(), "/socket/websocket").await
    }

    /// Waits until the server has logged these words so many times since its
    /// start; a build may come before.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for_log(&self, words: &str, times: usize) {
        let deadline = Instant::now() + BUILD_PATIENCE;
        let mut log = locked(&self.process.log.text);
        while log.matches(words).count() < times {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the log does not say {words:?} {times} times");
            let waited = self.process.log.grown.wait_timeout(log, left);
            log = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends its process a signal.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the server runs");
    }

    /// Tells the server to stop, as `kill` and service managers do.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn tell_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn wait(&self) -> ExitStatus {
        let end = locked(&self.process.end).recv_timeout(PATIENCE);
        assert_eq!(end, Err(RecvTimeoutError::Disconnected), "the server ends by itself");
        locked(&self.process.child).wait().expect("the server's exit status")
    }

    /// Its resident memory, in bytes.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// Tells the server to stop and waits until it has. It gives its clients two seconds to
    /// answer; a test that is not about that has none any more.
    #[must_use]
    pub fn terminate(&self) -> ExitStatus {
        self.tell_to_stop();
        self.wait()
    }

    /// Ends it as a power cut would.
    pub fn kill(&self) {
        self.process.kill();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of the server at {} ---\n{}---", self.address(), self.log());
        }
    }
}

impl Process {
    fn kill(&self) {
        let mut child = locked(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Keeps every line of `stderr` in `log`; drops `running` at its end.
fn keep(stderr: impl Read + Send + 'static, log: Arc<Log>, running: Sender<()>) {
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut text = locked(&log.text);
            text.push_str(&line);
            text.push('\n');
            log.grown.notify_all();
        }
        drop(running);
    });
}

/// Finds the addresses in `stdout`: the first URL of a line, or the Unix socket that it
/// says; those of clients come first and that of operators then. Drops `running` at its end.
fn watch(stdout: impl Read + Send + 'static, running: Sender<()>) -> Receiver<String> {
    let (found, addresses) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("://") {
                let host =
                    |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '[' | ']');
                let address = rest.split(|c| !host(c)).next().unwrap_or_default();
                let _ = found.send(address.to_owned());
            } else if let Some((_, path)) = line.split_once("unix:") {
                let _ = found.send(path.to_owned());
            }
        }
        drop(running);
    });
    addresses
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
