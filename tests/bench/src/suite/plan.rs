//! The workloads of the suite: their sizes, and the figures that are shown.

use crate::report::Measured;
use crate::workload::{
    Churn, Echo, EchoRate, Fairness, Fanout, FanoutRate, Idle, Pipeline, Policy, Worker, Workload,
};

/// One workload, or variants of one, and its measurements.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// The turns of each round, in this order.
    pub(super) turns: Vec<Turn>,
    /// The figures, with their names in the table of all servers. If there are none, the part has
    /// its own table.
    pub(super) shown: &'static [(&'static str, &'static str)],
    /// The measurements of each turn.
    pub(super) measured: Vec<Measured>,
}

/// One workload on one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) server: Kind,
    pub(super) workload: Workload,
    /// The name in the table, unless it is the server's own.
    pub(super) name: Option<&'static str>,
}

/// A server of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Floor,
    /// Millrace with the app in this folder of the workspace.
    Millrace(&'static str),
    Ws,
    SocketIo,
}

const PROBE: &str = "tests/apps/probe";
const ALL: [Kind; 4] = [Kind::Floor, Kind::Millrace(PROBE), Kind::Ws, Kind::SocketIo];

/// The parts of the suite; `short` ones only test that it works.
pub(super) fn plan(short: bool) -> Vec<Part> {
    let pick = |full, short_form| if short { short_form } else { full };
    let size = |full: usize, small: usize| if short { small } else { full };
    let seconds = pick(1.5, 0.1);
    let (connections, subscribers) = (size(100, 10), size(1_000, 20));
    let echo = |in_flight| Workload::Echo(Echo { connections, in_flight, seconds });
    let fanout = |burst| Workload::Fanout(Fanout { subscribers, burst, seconds });
    let echo_rate = EchoRate { connections, rate: pick(5_000.0, 500.0), seconds };
    let fanout_rate = FanoutRate { subscribers, rate: pick(10.0, 50.0), seconds };
    let churn = Churn { connections: size(500, 20), seconds };
    let idle = Idle { connections: size(5_000, 50), rest: pick(1.0, 0.05) };
    let mut parts = vec![
        all("echo, 1 in flight", echo(1), &[(ECHO, "echo, 1 in flight: µs a message")]),
        all("echo, 16 in flight", echo(16), &[(ECHO, "echo, 16 in flight: µs a message")]),
        all("echo at a rate", Workload::EchoRate(echo_rate), ECHO_RATE),
        all("fan-out", fanout(1), &[(FANOUT, "fan-out to 1,000, one at a time: µs a delivery")]),
        all("bursts", fanout(100), &[(FANOUT, "fan-out, bursts of 100: µs a delivery")]),
        all("fan-out at a rate", Workload::FanoutRate(fanout_rate), FANOUT_RATE),
        all("churn", Workload::Churn(churn), CHURN),
        all("idle", Workload::Idle(idle), IDLE),
    ];
    parts.push(pipeline(pick(2.0, 0.1), pick(2_000.0, 1_000.0)));
    parts.push(fairness(pick(5.0, 0.4), size(99, 10)));
    parts
}

const ECHO: &str = "server CPU, µs a round trip";
const FANOUT: &str = "server CPU, µs a delivery";
const ECHO_RATE: &[(&str, &str)] = &[
    (ECHO, "echo, 5,000 a second: µs a message"),
    ("latency p50, µs", "the same: latency p50, µs"),
    ("latency p99, µs", "the same: latency p99, µs"),
];
const FANOUT_RATE: &[(&str, &str)] = &[
    (FANOUT, "fan-out to 1,000, 10 a second: µs a delivery"),
    ("latency p50, µs", "the same: latency p50, µs"),
    ("latency p99, µs", "the same: latency p99, µs"),
];
const CHURN: &[(&str, &str)] = &[
    ("server CPU, µs a connect", "connect: µs"),
    ("server CPU, µs a join", "join: µs"),
    ("server CPU, µs a leave", "leave: µs"),
    ("server CPU, µs in all", "connect, join, leave and close: µs"),
];
const IDLE: &[(&str, &str)] = &[
    ("server RSS, bytes a connection", "idle and joined: bytes a connection"),
    ("server RSS with nobody, MB", "nobody connected: MB"),
];

fn all(
    name: &'static str,
    workload: Workload,
    shown: &'static [(&'static str, &'static str)],
) -> Part {
    let turns = ALL.map(|server| Turn { server, workload, name: None }).to_vec();
    Part { name, turns, shown, measured: Vec::new() }
}

fn pipeline(seconds: f64, rate: f64) -> Part {
    let pipeline = |worker, rate, batch| {
        Workload::Pipeline(Pipeline { worker, producers: 4, batch, rate, seconds })
    };
    let turns = [
        ("trivial", pipeline(Worker::Trivial, None, 100)),
        ("jobs", pipeline(Worker::Jobs, None, 100)),
        ("jobs at a rate", pipeline(Worker::Jobs, Some(rate), 20)),
    ];
    of_millrace("pipeline", "tests/bench/pipeline", turns)
}

fn fairness(seconds: f64, quiet: usize) -> Part {
    let fairness = |policy| Workload::Fairness(Fairness { policy, quiet, seconds });
    let turns = [("demand", fairness(Policy::Demand)), ("fair", fairness(Policy::Fair))];
    of_millrace("fairness", "tests/bench/fairness", turns)
}

fn of_millrace<const N: usize>(
    name: &'static str,
    app: &'static str,
    turns: [(&'static str, Workload); N],
) -> Part {
    let turn = |(name, workload)| Turn { server: Kind::Millrace(app), workload, name: Some(name) };
    Part { name, turns: turns.map(turn).to_vec(), shown: &[], measured: Vec::new() }
}
