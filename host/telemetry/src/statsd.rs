//! The reporter: sends what was recorded to a StatsD server, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::catalog::Metric;
use super::destination::Destination;
use super::line::{self, Dialect, Sampled, Value};
use super::registry::{Kind, Registry, Series, SeriesKey};
use super::series::Distribution;
use super::window::{Reading, Window};

/// The settings of the section `[statsd]`, as the reporter needs them.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address: `HOST:PORT`, or `unix:PATH`.
    pub address: String,
    /// The dialect in which lines are written.
    pub dialect: Dialect,
    /// The prefix of all names.
    pub prefix: String,
    /// The largest datagram in bytes.
    pub datagram_bytes: usize,
    /// The time between two reports.
    pub interval: Duration,
}

/// The handle of the thread that reports; the thread ends with it.
#[derive(Debug)]
pub(crate) struct Reporter(Sender<Sender<()>>);

/// The most values of one distribution in one report; above it they are sampled, and their lines
/// have the rate.
const MAX_SAMPLES: u64 = 32;

struct Report {
    registry: Arc<Registry>,
    destination: Destination,
    target: Target,
    window: Window,
    /// The number of lost datagrams that has been reported.
    lost: u64,
    lost_counter: Option<Series>,
    line: String,
    /// The lines of the next datagram.
    datagram: String,
}

impl Reporter {
    /// Starts the thread that reports.
    ///
    /// # Errors
    ///
    /// The address of the target is not valid, or the thread cannot be started.
    pub(crate) fn start(registry: Arc<Registry>, target: Target) -> io::Result<Self> {
        let destination = Destination::new(&target.address)?;
        let lost =
            SeriesKey { name: Metric::StatsdLost.spec().name.to_owned(), labels: Vec::new() };
        let lost_counter = registry.series(lost, Kind::Counter);
        let (sender, requests) = channel();
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
        thread::Builder::new().name("statsd".to_owned()).spawn(move || report.run(&requests))?;
        Ok(Self(sender))
    }

    /// Reports now, and waits until it is sent, for a second at most.
    pub(crate) fn flush(&self) {
        let (done, reported) = channel();
        if self.0.send(done).is_ok() {
            // An error means that the thread has ended, or is too slow.
            let _ = reported.recv_timeout(Duration::from_secs(1));
        }
    }
}

impl Report {
    fn run(&mut self, requests: &Receiver<Sender<()>>) {
        loop {
            match requests.recv_timeout(self.target.interval) {
                Ok(done) => {
                    self.report();
                    // The caller may have stopped waiting.
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
            // The next report has it.
            counter.add(lost);
        }
    }

    /// Adds values that stand for all of a distribution, each divided by `unit`.
    #[expect(clippy::cast_precision_loss, reason = "counts and values need no 53 bits")]
    fn samples(&mut self, key: &SeriesKey, sampled: Sampled, all: &Distribution, unit: f64) {
        let samples = all.samples(MAX_SAMPLES);
        let rate = samples.len() as f64 / all.count().max(1) as f64;
        for sample in samples {
            self.emit(key, Value::Sample(sampled, sample as f64 / unit, rate));
        }
    }

    fn emit(&mut self, key: &SeriesKey, value: Value<'_>) {
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

    /// Sends the lines of the datagram, if there are any.
    fn send(&mut self) {
        if !self.datagram.is_empty() {
            self.destination.send(&self.datagram);
            self.datagram.clear();
        }
    }
}
