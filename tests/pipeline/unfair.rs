//! Dispatchers that break their contract are reported and replaced, and every
//! event is done once.

use millrace_tests::{App, TestServer, run};
use serde_json::json;

use super::{enqueued, job, switch, until};

const PIPELINE: &str = "[pipelines.jobs]\nhttp = {}\n\
                        worker = { plugin = \"jobs\", consumers = 2, max_demand = 4 }\n";

/// Jobs of one user, handed over some at a time; each is heard of once.
async fn all_are_done_once(server: &TestServer) {
    const JOBS: usize = 60;
    let mut client = server.client().await;
    client.join("user:ada").await;
    for from in (0..JOBS).step_by(10) {
        let jobs: Vec<_> = (from..from + 10).map(|seq| job("ada", seq)).collect();
        enqueued(server, "jobs", &jobs).await;
    }
    let mut heard = Vec::new();
    for _ in 0..JOBS {
        heard.push(client.socket.recv_json().await[4]["seq"].as_u64().unwrap());
    }
    client.expect_nothing().await;
    heard.sort_unstable();
    assert_eq!(heard, (0..JOBS as u64).collect::<Vec<_>>());
    let view = until(server, "jobs", |totals| totals["done"] == JOBS).await;
    assert_eq!(view["totals"]["accepted"], JOBS, "{view}");
    assert_eq!(view["dispatchers"], json!(["demand"]), "{view}");
}

#[tokio::test]
async fn whatever_one_does_it_is_replaced_and_nothing_is_lost_or_doubled() {
    for (wrong, problem) in [
        ("over_sends", "more than it asked for"),
        ("repeats", "assigned before"),
        ("unknown_event", "was never offered"),
        ("unknown_consumer", "consumer 99, which has not subscribed"),
        ("forgets", "it forgot "),
        ("forgets_one", "it forgot "),
        ("panics", "it has had enough"),
        ("spins", "limits.dispatcher_fuel"),
        ("waits", "it waited, which a dispatcher may not"),
        ("unequal", "events and "),
        ("hoards", "memory"),
    ] {
        // It does as it should twice.
        let config = format!("{PIPELINE}dispatcher = \"unfair\"\n");
        let server = App::unfair(wrong, 2).with(&config).serve();
        all_are_done_once(&server).await;
        server.wait_for_log("the dispatcher was replaced", 1);
        let log = server.log();
        let report = log.split_once("ERROR the dispatcher was replaced: ");
        let (_, report) = report.unwrap_or_else(|| panic!("{wrong}: {log}"));
        assert!(report.contains(problem), "{wrong}: {report}");
        assert!(
            report.contains("pipeline=\"jobs\"") && report.contains("dispatcher=\"unfair "),
            "{report}"
        );
        assert_eq!(log.matches("the dispatcher was replaced").count(), 1, "{log}");
    }
}

/// Its pipeline stands still while it computes, whatever fuel it has.
#[tokio::test]
async fn one_with_fuel_for_an_hour_has_a_tenth_of_a_second() {
    let limits = "[plugins.unfair.limits]\ndispatcher_fuel = 1000000000000000\n";
    let config = format!("{limits}{PIPELINE}dispatcher = \"unfair\"\n");
    let server = App::unfair("spins", 2).with(&config).serve();
    all_are_done_once(&server).await;
    server.wait_for_log("the call computed for more than 100 ms", 1);
}

/// When one is switched to that does not take the second consumer.
#[tokio::test]
async fn one_that_takes_nobody_is_replaced_at_once() {
    let server = App::unfair("panics_on_subscribe", 1).with(PIPELINE).serve();
    let response = switch(&server, "jobs", "unfair").await;
    assert_eq!(response.status, 200, "{response:?}");
    all_are_done_once(&server).await;
    server.wait_for_log("the dispatcher was replaced", 1);
    let log = server.log();
    assert_eq!(log.matches("the dispatcher was replaced").count(), 1, "{log}");
    assert!(log.contains("it wants nobody"), "{log}");
}

#[tokio::test]
async fn one_that_does_not_start_is_refused_by_the_start_and_by_a_switch() {
    for (wrong, problem) in
        [("panics_in_init", "it panics in init"), ("fails_in_init", "it has no mind to start")]
    {
        let config = format!("{PIPELINE}dispatcher = \"unfair\"\n");
        let app = App::unfair(wrong, 0).with(&config);
        let serve = ["serve", app.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
        run(serve).await.assert_refused(&["pipelines.jobs", problem]);

        let server = App::unfair(wrong, 0).with(PIPELINE).serve();
        let response = switch(&server, "jobs", "unfair").await;
        assert_eq!(response.status, 400, "{response:?}");
        assert!(response.body.contains(problem), "{response:?}");
        all_are_done_once(&server).await;
    }
}
