//! The workloads against the floor: nothing is lost, and the figures fit together.

use millrace_bench::server::{RunningServer, ServerCommand};
use millrace_bench::workload::{Echo, Fanout, Outcome};

async fn floor() -> RunningServer {
    let command = format!("floor={}", env!("CARGO_BIN_EXE_floor"));
    ServerCommand::parse(&command).unwrap().start().await.unwrap()
}

fn figure(outcome: &Outcome, name: &str) -> f64 {
    let found = outcome.figures.iter().find(|(figure, _)| *figure == name);
    found.unwrap_or_else(|| panic!("no {name} in {outcome:?}")).1
}

#[tokio::test]
async fn pings_are_answered_once_each() {
    let floor = floor().await;
    for in_flight in [1, 8] {
        let echo = Echo { connections: 20, in_flight, seconds: 1.0 };
        let outcome = echo.run(&floor.target).await.unwrap();
        assert_eq!((outcome.lost, outcome.duplicated), (0, 0));
        // Little's law: the number in flight is the rate times the latency.
        let rate = figure(&outcome, "round trips a second");
        let found = rate * figure(&outcome, "latency p50, µs") / 1e6;
        let expected = (20 * in_flight) as f64;
        assert!(found > expected / 3.0 && found < expected * 3.0, "{found}: {outcome:?}");
    }
    floor.stop().await.unwrap();
}

#[tokio::test]
async fn broadcasts_reach_everybody_once() {
    let floor = floor().await;
    let fanout = Fanout { subscribers: 50, burst: 1, seconds: 1.0 };
    let outcome = fanout.run(&floor.target).await.unwrap();
    assert_eq!((outcome.lost, outcome.duplicated), (0, 0));
    assert!(figure(&outcome, "deliveries a second") > 51.0, "{outcome:?}");
    floor.stop().await.unwrap();
}
