//! `millrace token`, and the secret of `millrace dev`.

use millrace_tests::{Run, run, run_in};

use super::*;

/// The one line that a command prints.
fn line(run: &Run) -> String {
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:#?}");
    run.stdout.trim_end().to_owned()
}

#[tokio::test]
async fn a_token_is_made_read_and_taken() {
    let app = contract();
    let path = app.path().to_str().unwrap().to_owned();
    let made = run(["token", "make", &path, "--user", "ada", "--expires-in", "5m"]).await;
    let token = line(&made);
    let read = run(["token", "read", &token, &path]).await;
    assert_eq!(read.code, Some(0), "{read:#?}");
    for words in ["Phoenix.Token\n", "data: \"ada\"\n", "accepted: user id \"ada\"\n"] {
        assert!(read.stdout.contains(words), "{read:#?}");
    }
    let server = app.serve();
    let mut ada = client(&server, &token).await;
    ada.join("room:made").await;
    assert_eq!(users(&server).await, [json!("ada")]);
    let read = run(["token", "read", &format!("{token}x"), &path]).await;
    read.assert_refused(&["refused: the signature is wrong"]);
    let claims = run(["token", "make", &path, "--claims", "[]"]).await;
    assert_eq!(claims.code, Some(2), "{claims:#?}");
}

#[tokio::test]
async fn a_development_secret_is_taken_in_development_alone() {
    let secret = "a development secret of more than 32 bytes";
    let dev = [("MILLRACE_DEV_SECRET", secret)];
    let app = || with_jwt("[auth.jwt]\naudiences = [\"millrace\"]");
    let app_in_dev = app().environment(dev[0].0, dev[0].1);
    let path = app_in_dev.path().to_str().unwrap().to_owned();
    let token = line(&run_in(&dev, ["token", "make", &path, "--user", "ada"]).await);
    let in_dev = app_in_dev.dev();
    client(&in_dev, &token).await.join("room:dev").await;
    assert_eq!(shows(&in_dev, &token[1..]).await.status, 403);
    let in_use = app().environment(dev[0].0, dev[0].1).serve();
    assert_eq!(shows(&in_use, &token).await.status, 403);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_at_the_start() {
    for (auth, problem) in [
        ("[auth]", "auth has no keys; add [auth.phoenix_token] or [auth.jwt]"),
        (
            "[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nsecret = \"hunter2\"",
            "auth.jwt.keys[0]: the secret of an HS algorithm has 7 bytes; at least 32 are needed",
        ),
        (
            "[auth.phoenix_token]\nsalt = \"s\"\nsecrets = [{ env = \"MILLRACE_TEST_NONE\" }]",
            "auth.phoenix_token.secrets[0] is { env = \"MILLRACE_TEST_NONE\" }, and there is no",
        ),
    ] {
        let app = App::probe().with(auth);
        let run = run(["serve", app.path().to_str().unwrap()]).await;
        run.assert_refused(&[problem]);
        assert!(!run.stderr.contains("hunter2"), "{run:#?}");
    }
}
