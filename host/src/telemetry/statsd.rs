//! Sends what was recorded to a StatsD server, on a thread of its own.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use cadence::{BufferedUdpMetricSink, BufferedUnixMetricSink, MetricError, MetricSink};

use super::catalog::Metric;
use super::line::{self, Dialect, Sampled, Value};
use super::registry::{Key, Kind, Registry, Series};
use super::series::Distribution;
use super::window::{Reading, Window};

/// `[statsd]`, as the reporter needs it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `HOST:PORT`, or `unix:PATH`.
    pub(crate) address: String,
    pub(crate) dialect: Dialect,
    pub(crate) prefix: String,
    /// The largest datagram.
    pub(crate) datagram_bytes: usize,
    /// Between two reports.
    pub(crate) interval: Duration,
}

/// The thread that reports. It ends with its handle.
#[derive(Debug)]
pub(crate) struct Reporter(Sender<Sender<()>>);

/// How often the host of the server is looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);
/// Values of one distribution in one report; more are sampled, and say so.
const MAX_SAMPLES: u64 = 32;

struct Report {
    registry: Arc<Registry>,
    sink: Box<dyn MetricSink + Send>,
    target: Target,
    window: Window,
    /// Datagrams that could not be sent, as far as they were reported.
    lost: u64,
    lost_counter: Option<Series>,
    line: String,
}

impl Reporter {
    /// Starts reporting.
    pub(crate) fn start(registry: Arc<Registry>, target: Target) -> Result<Self, MetricError> {
        let sink = sink(&target)?;
        let lost = Key { name: Metric::StatsdLost.spec().name.to_owned(), labels: Vec::new() };
        let lost_counter = registry.series(lost, Kind::Counter);
        let (asked, asking) = channel();
        let mut report = Report {
            registry,
            sink,
            target,
            window: Window::default(),
            lost: 0,
            lost_counter,
            line: String::new(),
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

fn sink(target: &Target) -> Result<Box<dyn MetricSink + Send>, MetricError> {
    if let Some(path) = target.address.strip_prefix("unix:") {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let size = target.datagram_bytes;
        return Ok(Box::new(BufferedUnixMetricSink::with_capacity(path, socket, size)));
    }
    let any = |v6: bool| if v6 { "[::]:0" } else { "0.0.0.0:0" };
    let resolved: Vec<SocketAddr> =
        std::net::ToSocketAddrs::to_socket_addrs(target.address.as_str())?.collect();
    let v6 = resolved.first().is_some_and(SocketAddr::is_ipv6);
    let socket = UdpSocket::bind(any(v6))?;
    socket.set_nonblocking(true)?;
    let sink = BufferedUdpMetricSink::builder()
        .with_capacity(target.datagram_bytes)
        .with_resolver_period(RESOLVE_EVERY)
        .build(target.address.clone(), socket)?;
    Ok(Box::new(sink))
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
        // An error is counted by the sink.
        let _ = self.sink.flush();
        let dropped = self.sink.stats().packets_dropped;
        let lost = i64::try_from(dropped - std::mem::replace(&mut self.lost, dropped));
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
        // As above.
        let _ = self.sink.emit(&self.line);
    }
}
