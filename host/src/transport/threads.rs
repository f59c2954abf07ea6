//! The threads that serve connections: one for each core, each with a listener and
//! a runtime of its own.
//!
//! A connection stays on the thread that accepted it, so that nothing of it goes from
//! one core's caches to another's, and its thread can have the messages of all its
//! connections handled together ([`super::round`]). What takes longer goes on
//! elsewhere: tasks of plugins, pipelines and operators' requests are on the runtime
//! the server was started from.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle, available_parallelism};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tracing::debug;

use super::slice::ask_for_short_slices;
use super::{accept, pace, round, traffic};
use crate::outbox::wake_for_others;
use crate::server::Shared;
use crate::telemetry::watch_lag;

/// How long files may still be read when a thread ends.
const LAST_READS: Duration = Duration::from_millis(500);

/// Connections that wait to be accepted by one thread.
const BACKLOG: u32 = 1024;

/// A listener for each thread, at one address.
#[derive(Debug)]
pub(crate) struct Listeners {
    first: std::net::TcpListener,
    others: Vec<std::net::TcpListener>,
    /// With the port the system chose for port 0.
    pub(crate) address: SocketAddr,
}

impl Listeners {
    /// Listens. An error when anybody else does.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket(address)?;
        // Alone at first: this fails when the address is taken, even by a server that
        // would share it.
        socket.bind(address)?;
        socket.set_reuseport(true)?;
        let first = socket.listen(BACKLOG)?.into_std()?;
        let address = first.local_addr()?;
        let mut others = Vec::new();
        for _ in 1..threads() {
            others.push(match another(address) {
                Ok(listener) => listener,
                Err(error) => {
                    debug!(%error, "threads share a listener");
                    first.try_clone()?
                }
            });
        }
        Ok(Self { first, others, address })
    }
}

fn another(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket(address)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that has just stopped is in nobody's way.
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Threads that serve connections until they are dropped.
#[derive(Debug)]
pub(crate) struct Threads(Vec<Thread>);

#[derive(Debug)]
struct Thread {
    /// Dropping it ends the thread.
    _running: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Threads {
    /// Starts accepting.
    pub(crate) fn start(listeners: Listeners, shared: &Arc<Shared>) -> io::Result<Self> {
        let start = |listener| {
            let metrics = shared.metrics.clone();
            let park = move || {
                traffic::count(&metrics);
                pace::pause();
            };
            let runtime =
                Builder::new_current_thread().enable_all().on_thread_park(park).build()?;
            let (running, ended) = oneshot::channel();
            let shared = Arc::clone(shared);
            let serve = move || {
                serve(&runtime, listener, &shared, ended);
                // Reading a file may block a thread for ever, and does not hold up the end.
                runtime.shutdown_timeout(LAST_READS);
            };
            let thread = thread::Builder::new().name("connections".to_owned()).spawn(serve)?;
            Ok(Thread { _running: running, thread })
        };
        let all = listeners.others.into_iter().chain([listeners.first]);
        all.map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Ends them; blocks until they have ended, and with them all connections.
    pub(crate) fn end(self) {
        let threads: Vec<_> = self.0.into_iter().map(|thread| thread.thread).collect();
        for thread in threads {
            // An error when it panicked, of which the log has told.
            let _ = thread.join();
        }
    }
}

fn serve(
    runtime: &Runtime,
    listener: std::net::TcpListener,
    shared: &Arc<Shared>,
    ended: oneshot::Receiver<()>,
) {
    ask_for_short_slices();
    runtime.block_on(async {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "failed to listen"),
        };
        tokio::spawn(round::run());
        tokio::spawn(wake_for_others());
        tokio::spawn(watch_lag(shared.metrics.clone()));
        tokio::select! {
            () = accept(listener, Arc::clone(shared)) => {}
            _ = ended => {}
        }
    });
    traffic::count(&shared.metrics);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_taken_once_for_all_threads() {
        let listeners = Listeners::bind(([127, 0, 0, 1], 0).into()).unwrap();
        assert_eq!(listeners.others.len() + 1, threads());
        for listener in &listeners.others {
            assert_eq!(listener.local_addr().unwrap(), listeners.address);
        }
        let error = Listeners::bind(listeners.address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "another server");
        let address = listeners.address;
        drop(listeners);
        Listeners::bind(address).unwrap();
    }
}
