//! Sends what was recorded to a StatsD server, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::catalog::Metric;
use super::destination::Destination;
use super::line::{self, Dialect, Sampled, Value};
use super::registry::{Key, Kind, Registry, Series};
use super::series::Distribution;
use super::window::{Reading, Window};

/// `[statsd]`, as the reporter needs it.
#[derive(Clone, Debug)]
pub struct Target {
    /// `HOST:PORT`, or `unix:PATH`.
    pub address: String,
    /// How labels are written.
    pub dialect: Dialect,
    /// What every name begins with.
    pub prefix: String,
    /// The largest datagram.
    pub datagram_bytes: usize,
    /// Between two reports.
    pub interval: Duration,
}

/// The thread that reports. It ends with its handle.
#[derive(Debug)]
pub(crate) struct Reporter(Sender<Sender<()>>);

/// Values of one distribution in one report; more are sampled, and say so.
const MAX_SAMPLES: u64 = 32;

struct Report {
    registry: Arc<Registry>,
    destination: Destination,
    target: Target,
    window: Window,
    /// Datagrams that could not be sent, as far as they were reported.
    lost: u64,
    lost_counter: Option<Series>,
    line: String,
    /// Lines that go out together.
    datagram: String,
}

impl Reporter {
    /// Starts reporting; an error when the address of the target is none.
    pub(crate) fn start(registry: Arc<Registry>, target: Target) -> io::Result<Self> {
        let destination = Destination::new(&target.address)?;
        let lost = Key { name: Metric::StatsdLost.spec().name.to_owned(), labels: Vec::new() };
        let lost_counter = registry.series(lost, Kind::Counter);
        let (asked, asking) = channel();
        let mut report = Report {
            registry,
            destination,
            target,
            window: Window::default(),
            lost: 0,
            lost_counter,
            line: String::new(),
            datagram: String::new(),
        };
        thread::Builder::new().name("statsd".to_owned()).spawn(move || report.run(&asking))?;
        Ok(Self(asked))
    }

    /// Reports now; returns once it is sent.
    pub(crate) fn flush(&self) {
        let (done, reported) = channel();
        if self.0.send(done).is_ok() {
            // An error when the thread has gone.
            let _ = reported.recv_timeout(Duration::from_secs(1));
        }
    }
}

impl Report {
    fn run(&mut self, asking: &Receiver<Sender<()>>) {
        loop {
            match asking.recv_timeout(self.target.interval) {
                Ok(done) => {
                    self.report();
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.report(),
                Err(RecvTimeoutError::Disconnected) => return self.report(),
            }
        }
    }

    fn report(&mut self) {
        self.destination.begin();
        for (key, reading) in self.window.next(&self.registry) {
            match reading {
                Reading::Added(added) => self.emit(&key, Value::Count(added)),
                Reading::Level(level) => self.emit(&key, Value::Gauge(level)),
                Reading::Timing(all) => self.samples(&key, Sampled::Timing, &all, 1000.0),
                Reading::Distribution(all) => self.samples(&key, Sampled::Distribution, &all, 1.0),
                Reading::Histogram(all) => self.samples(&key, Sampled::Histogram, &all, 1000.0),
            }
        }
        for (key, series) in self.registry.all().iter() {
            let Series::Set(set) = series else { continue };
            set.take().iter().for_each(|member| self.emit(key, Value::Member(member)));
        }
        self.send();
        self.destination.end();
        let all = self.destination.lost();
        let lost = i64::try_from(all - std::mem::replace(&mut self.lost, all));
        if let (Ok(lost @ 1..), Some(Series::Counter(counter))) = (lost, &self.lost_counter) {
            // Said with the next report.
            counter.add(lost);
        }
    }

    /// Some values that stand for all, each divided by `unit`.
    #[expect(clippy::cast_precision_loss, reason = "counts and values need no 53 bits")]
    fn samples(&mut self, key: &Key, sampled: Sampled, all: &Distribution, unit: f64) {
        let samples = all.samples(MAX_SAMPLES);
        let rate = samples.len() as f64 / all.count().max(1) as f64;
        for sample in samples {
            self.emit(key, Value::Sample(sampled, sample as f64 / unit, rate));
        }
    }

    fn emit(&mut self, key: &Key, value: Value<'_>) {
        let labels: Vec<_> = key.labels.iter().map(|(name, v)| (*name, v.as_str())).collect();
        self.line.clear();
        let Target { dialect, prefix, .. } = &self.target;
        line::write(&mut self.line, *dialect, prefix, &key.name, &labels, value);
        let together = self.datagram.len() + 1 + self.line.len();
        if together > self.target.datagram_bytes {
            self.send();
        }
        if !self.datagram.is_empty() {
            self.datagram.push('\n');
        }
        self.datagram.push_str(&self.line);
    }

    /// Sends the lines that are gathered.
    fn send(&mut self) {
        if !self.datagram.is_empty() {
            self.destination.send(&self.datagram);
            self.datagram.clear();
        }
    }
}
