//! The commands for operators.

use millrace_tests::{App, HttpRequest, Run, TestServer, run};
use serde_json::{Value, json};

use super::user;

/// The program, asking a server.
async fn ask(server: &TestServer, args: &[&str]) -> Run {
    run(args.iter().copied().chain(["--admin", server.admin()])).await
}

/// The same; it worked, and printed lines.
async fn lines(server: &TestServer, args: &[&str]) -> Vec<String> {
    let run = ask(server, args).await;
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:#?}");
    run.stdout.lines().map(str::to_owned).collect()
}

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn plugins_are_a_table_or_json() {
    let server = App::slow().admin().serve();
    let table = lines(&server, &["plugins"]).await;
    let [head, slow] = table.as_slice() else { panic!("{table:?}") };
    assert!(head.starts_with("PLUGIN  VERSION"), "{head}");
    assert_eq!((words(slow)[0], words(slow).last()), ("slow", Some(&"0")), "{slow}");
    let json = lines(&server, &["plugins", "--json"]).await;
    let plugin: Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!((json.len(), &plugin["name"]), (1, &json!("slow")));
}

#[tokio::test]
async fn a_user_is_found_and_disconnected() {
    let server = App::slow().admin().serve();
    assert_eq!(lines(&server, &["sockets"]).await, ["nobody is connected"]);
    let mut ada = user(&server, "%1b%5b2J%20ada").await;
    ada.join("slow:a").await;
    let mut bob = user(&server, "bob").await;
    bob.expect_nothing().await;
    let table = lines(&server, &["sockets"]).await;
    assert_eq!(table.len(), 3, "{table:?}");
    // What clients say does nothing to the terminal.
    assert!(table[1].contains("\u{fffd}[2J ada") && !table[1].contains('\x1b'), "{table:?}");
    let table = lines(&server, &["sockets", "--user", "bob"]).await;
    assert_eq!((table.len(), words(&table[1])[2]), (2, "bob"), "{table:?}");
    let told = lines(&server, &["disconnect", "bob"]).await;
    assert_eq!(told, ["1 connection of \"bob\" was told to close"]);
    assert_eq!(bob.socket.expect_close().await.0, 1001);
    let told = lines(&server, &["disconnect", "eve", "--json"]).await;
    assert_eq!(told, ["{\"closed\":0}"]);
}

#[tokio::test]
async fn pages_come_one_after_the_other() {
    let server = App::slow().admin().serve();
    let mut clients = Vec::new();
    for _ in 0..101 {
        clients.push(server.client().await);
    }
    clients.last_mut().unwrap().expect_nothing().await;
    assert_eq!(lines(&server, &["sockets"]).await.len(), 102);
}

#[tokio::test]
async fn pipelines_and_their_dispatchers_are_for_people_too() {
    let server = App::jobs()
        .pipeline(
            "jobs",
            "http = {}\nretry = { max_attempts = 1 }\nworker = { plugin = \"jobs\" }\n",
        )
        .serve();
    let event = "{\"user\":\"ada\",\"seq\":1,\"poison\":true}";
    let events = HttpRequest::new("POST", "/pipelines/jobs/events");
    let taken = events.body("application/x-ndjson", event).send(server.address()).await;
    assert_eq!(taken.status, 202, "{taken:?}");
    server.wait_for_log("an event was given up", 1);
    let table = lines(&server, &["pipelines"]).await;
    let expected = ["jobs", "demand", "1", "0", "1", "0", "0", "0", "0", "1"];
    assert_eq!(words(&table[1]), expected, "{table:?}");
    let letters = lines(&server, &["dead-letters", "list", "jobs"]).await;
    assert!(letters[1].contains("job 1 of ada is poison"), "{letters:?}");
    let replayed = lines(&server, &["dead-letters", "replay", "jobs"]).await;
    assert_eq!(replayed, ["1 replayed, 0 found no room and stay"]);
    server.wait_for_log("an event was given up", 2);
    let purged = lines(&server, &["dead-letters", "purge", "jobs"]).await;
    assert_eq!(purged, ["1 purged"]);
    let none = lines(&server, &["dead-letters", "list", "jobs"]).await;
    assert_eq!(none, ["there are no dead letters"]);

    let file = App::jobs_app().path().join(".millrace/isolate.wasm");
    let by_file = ["swap-dispatcher", "jobs", file.to_str().unwrap()];
    ask(&server, &by_file).await.assert_refused(&["built-in dispatcher `demand`", "by its name"]);
    let switched = lines(&server, &["swap-dispatcher", "jobs", "fair", "--stage", "0"]).await;
    assert!(switched[0].starts_with("the dispatchers of jobs are: fair "), "{switched:?}");
    let swapped = lines(&server, &by_file).await;
    let (from, to) = (words(&switched[0])[6], words(swapped.last().unwrap())[1]);
    assert_ne!(from, to, "{swapped:?}");
    let table = lines(&server, &["pipelines"]).await;
    assert_eq!(words(&table[1])[1..3], ["fair", to], "{table:?}");
    let refused = ask(&server, &["swap-dispatcher", "jobs", "fare"]).await;
    refused.assert_refused(&["400", "\"fare\"", "is expected", "the dispatcher it had goes on"]);
}

#[tokio::test]
async fn who_does_not_get_through_is_told_why() {
    let server = App::slow().admin().with("[admin]\ntoken = \"secret\"").serve();
    ask(&server, &["plugins"]).await.assert_refused(&["401", "no token was given", "--token"]);
    let wrong = ask(&server, &["plugins", "--token", "guess"]).await;
    wrong.assert_refused(&["401", "the token is wrong"]);
    assert_eq!(lines(&server, &["plugins", "--token", "secret"]).await.len(), 2);
    // Where clients connect, and where nobody listens.
    let elsewhere = run(["plugins", "--admin", server.address()]).await;
    elsewhere.assert_refused(&[server.address(), "404", "is this the admin interface?"]);
    let nowhere = run(["plugins", "--admin", "127.0.0.1:1"]).await;
    nowhere.assert_refused(&[
        "http://127.0.0.1:1",
        "refused",
        "is the server running, with [admin]",
    ]);
    let https = format!("https://{}", server.admin());
    let no_tls = format!("no TLS is spoken at {}; ask with http://", server.admin());
    run(["plugins", "--admin", &https]).await.assert_refused(&[&no_tls]);
    for args in [
        &["plugins", "--admin", "ftp://a.example:1"][..],
        &["plugins", "--admin", "nowhere"],
        &["dead-letters", "list", "a/b"],
        &["swap-dispatcher", "jobs"],
        &["disconnect"],
    ] {
        let run = run(args.iter().copied()).await;
        assert_eq!(run.code, Some(2), "{run:#?}");
    }
}
