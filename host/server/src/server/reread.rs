//! The files that are read again while the server runs: the certificate, and secrets in files.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_telemetry::{Metric, Metrics};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::config::{App, Secret};
use crate::net::Tls;

/// The files that are read again. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Rereader(Arc<Files>);

#[derive(Debug)]
struct Files {
    tls: Option<Arc<Tls>>,
    secrets: Vec<(String, Secret)>,
    every: Duration,
    /// The problems at the last look, so that each is logged once.
    wrong: Mutex<Vec<String>>,
    metrics: Metrics,
}

impl Rereader {
    pub(crate) fn new(app: &App, tls: Option<Arc<Tls>>, metrics: Metrics) -> Self {
        let every = Duration::from_millis(app.server.reread_ms);
        let (secrets, wrong) = (app.secrets_in_files(), Mutex::default());
        Self(Arc::new(Files { tls, secrets, every, wrong, metrics }))
    }

    /// Reads the files again at each `server.reread_ms`, if there are any.
    pub(crate) async fn run(self) {
        if self.0.tls.is_none() && self.0.secrets.is_empty() {
            return;
        }
        let mut due = interval(self.0.every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let files = self.clone();
            // The files may be on a disk that does not answer.
            let _ = tokio::task::spawn_blocking(move || files.now()).await;
        }
    }

    /// Reads the files now, and returns how many have a problem. What cannot be read stays as it
    /// was.
    pub(crate) fn now(&self) -> usize {
        let files = &*self.0;
        let tls = files.tls.iter().map(|tls| ("tls.certificate".to_owned(), tls.reread()));
        let secrets = files.secrets.iter().map(|(key, secret)| {
            (key.clone(), secret.reread().map_err(|problem| format!("{key} {problem}")))
        });
        let mut wrong = Vec::new();
        for (key, reread) in tls.chain(secrets) {
            match reread {
                Ok(false) => {}
                Ok(true) => {
                    info!("{key} was read anew");
                    files.metrics.count_of(Metric::Reread, &["ok"], 1);
                }
                Err(problem) => wrong.push(problem),
            }
        }
        let mut before = files.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        for problem in wrong.iter().filter(|problem| !before.contains(problem)) {
            warn!("{problem}; it stays as it was until the file is in order");
            files.metrics.count_of(Metric::Reread, &["failed"], 1);
        }
        *before = wrong;
        before.len()
    }
}
