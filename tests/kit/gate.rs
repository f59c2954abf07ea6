//! A gate that calls of plugins wait at until the test opens it.
//!
//! ```text
//! plugin ──GET──▶ gate ┆ the test: until_waiting(2), let_through(1), open()
//!        ◀─ 204 ──
//! ```
//!
//! A plugin of `tests/apps/gated` waits at it where the same plugin of `tests/apps` would
//! sleep, so that what overtakes a call does so however long it takes.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot, watch};
use tokio::time::timeout;

use crate::PATIENCE;

/// The gate; closed at first, and gone with its handle.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    state: Arc<State>,
    /// Its end is that of the thread that answers.
    _answering: oneshot::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// A permit for each call that may go through; they are given in the order in which the
    /// calls came.
    through: Semaphore,
    calls: watch::Sender<Calls>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    /// How many wait.
    waiting: usize,
    /// How many have gone through.
    through: usize,
}

impl Gate {
    /// A gate that lets nobody through. It has a thread of its own, so that a test may block
    /// beside it.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn closed() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port that is free");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State { through: Semaphore::new(0), calls: watch::Sender::default() });
        let (answering, end) = oneshot::channel();
        let calls = accept(listener, Arc::clone(&state));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.expect("a runtime").block_on(async move {
                tokio::select! { () = calls => {}, _ = end => {} }
            });
        });
        Self { port, state, _answering: answering }
    }

    /// What a plugin asks for to get through.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Waits until exactly so many calls wait at the gate.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn until_waiting(&self, calls: usize) {
        self.until(|now| now.waiting == calls, &format!("{calls} calls wait")).await;
    }

    /// Lets so many calls through, those that have waited longest, or come next; and waits
    /// until they have gone.
    ///
    /// # Panics
    /// If there are not so many.
    pub async fn let_through(&self, calls: usize) {
        let through = self.state.calls.borrow().through + calls;
        self.state.through.add_permits(calls);
        self.until(|now| now.through >= through, &format!("{through} calls are through")).await;
    }

    async fn until(&self, is_so: impl FnMut(&Calls) -> bool, words: &str) {
        let mut calls = self.state.calls.subscribe();
        let found = timeout(PATIENCE, calls.wait_for(is_so)).await.is_ok();
        assert!(found, "{words}: expected of a gate, where {:?}", self.state.calls.borrow());
    }

    /// Lets everybody through who waits and who comes.
    pub fn open(&self) {
        self.state.through.close();
    }
}

/// Answers whoever comes.
async fn accept(listener: TcpListener, state: Arc<State>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((call, _)) = listener.accept().await {
        tokio::spawn(serve(call, Arc::clone(&state)));
    }
}

/// Answers one request after the other, each when its call may go through.
async fn serve(call: TcpStream, state: Arc<State>) {
    let mut call = BufReader::new(call);
    let mut line = String::new();
    while call.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        if line == "\r\n" {
            state.calls.send_modify(|calls| calls.waiting += 1);
            let through = tokio::select! {
                // An error says that the gate is open.
                permit = state.through.acquire() => {
                    permit.into_iter().for_each(SemaphorePermit::forget);
                    true
                }
                // The call was given up.
                _ = call.fill_buf() => false,
            };
            state.calls.send_modify(|calls| {
                calls.waiting -= 1;
                calls.through += usize::from(through);
            });
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            if !through || call.write_all(answer).await.is_err() {
                return;
            }
        }
        line.clear();
    }
}
