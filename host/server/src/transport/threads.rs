//! The threads that serve connections: one for each core, each with a listener and a runtime of its
//! own.
//!
//! A connection stays on the thread that accepted it, so that its data does not move between the
//! caches of cores, and the thread can have the messages of all its connections handled together
//! ([`super::round`]). What takes longer runs elsewhere: tasks of plugins, pipelines and operators'
//! requests are on the runtime that the server was started from.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millrace_telemetry::watch_lag;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::sched_slice::ask_for_short_slices;
use super::{accept, io_counters, pace, round};
use crate::net::Acceptor;
use crate::net::{Listeners, SocketFile, UnregisteredListener, threads};
use crate::node::Node;
use crate::outbox::run_wake_queue;

/// The time that files may still be read when a thread ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Threads that serve connections until they are dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    threads: Vec<Thread>,
    /// The files of Unix sockets, which are removed with the server.
    _files: Vec<SocketFile>,
}

#[derive(Debug)]
struct Thread {
    /// Dropping this ends the thread.
    _running: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Threads {
    /// Starts the threads, each with a listener of every address.
    pub(crate) fn start(
        all: Vec<(Listeners, Arc<Acceptor>)>,
        node: &Arc<Node>,
    ) -> io::Result<Self> {
        let mut of_threads: Vec<_> = (0..threads()).map(|_| Vec::new()).collect();
        let mut files = Vec::new();
        for (listeners, acceptor) in all {
            let (each, file) = listeners.into_parts();
            for (of_thread, listener) in of_threads.iter_mut().zip(each) {
                of_thread.push((listener, Arc::clone(&acceptor)));
            }
            files.extend(file);
        }
        let start = |listeners| {
            let metrics = node.metrics.clone();
            let park = move || {
                io_counters::count(&metrics);
                pace::pause();
            };
            let runtime =
                Builder::new_current_thread().enable_all().on_thread_park(park).build()?;
            let (running, ended) = oneshot::channel();
            let node = Arc::clone(node);
            let serve = move || {
                serve(&runtime, listeners, &node, ended);
                // Reading a file may block a thread for ever, and must not hold up the end.
                runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
            };
            let thread = thread::Builder::new().name("connections".to_owned()).spawn(serve)?;
            Ok(Thread { _running: running, thread })
        };
        let threads = of_threads.into_iter().map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads, _files: files })
    }

    /// Ends the threads, and waits until they have ended, and with them all connections. Blocks.
    pub(crate) fn end(self) {
        let threads: Vec<_> = self.threads.into_iter().map(|thread| thread.thread).collect();
        for thread in threads {
            // An error means that the thread has panicked, which is in the log.
            let _ = thread.join();
        }
    }
}

fn serve(
    runtime: &Runtime,
    listeners: Vec<(UnregisteredListener, Arc<Acceptor>)>,
    node: &Arc<Node>,
    ended: oneshot::Receiver<()>,
) {
    ask_for_short_slices();
    runtime.block_on(async {
        for (listener, acceptor) in listeners {
            match listener.start() {
                Ok(listener) => drop(tokio::spawn(accept(listener, acceptor, Arc::clone(node)))),
                Err(error) => return tracing::error!(%error, "failed to listen"),
            }
        }
        tokio::spawn(round::run());
        tokio::spawn(run_wake_queue());
        tokio::spawn(watch_lag(node.metrics.clone()));
        // An error means that the sender was dropped, which is the signal.
        let _ = ended.await;
    });
    io_counters::count(&node.metrics);
}
