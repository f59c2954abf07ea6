//! A proxy that runs.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use millrace_tests::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

/// nginx, haproxy or Caddy, until it is dropped.
pub(crate) struct Proxy {
    child: Child,
    log: PathBuf,
    /// Where it takes clients over TLS.
    pub(crate) port: u16,
}

impl Proxy {
    /// Starts it, and waits until it listens at `port`; what it says goes to `log`.
    ///
    /// # Panics
    /// If it ends.
    pub(crate) async fn start(command: &mut Command, port: u16, log: PathBuf) -> Self {
        let output = File::create(&log).unwrap();
        let errors = output.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap();
        let mut proxy = Self { child, log, port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.is_err() {
            let ended = proxy.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "it does not listen: {ended:?}");
            tokio::task::yield_now().await;
        }
        proxy
    }

    /// Waits until it has said this.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) async fn expect_log(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&self.log).unwrap().contains(words) {
            assert!(Instant::now() < deadline, "it does not say {words:?}");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Not killed: nginx has to end its workers.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the proxy ---\n{}---", fs::read_to_string(&self.log).unwrap());
        }
    }
}
