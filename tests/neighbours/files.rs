//! Files: what is served, what is kept, what is trusted.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use millrace_tests::{App, HttpRequest, TestServer, run};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::time::timeout;

use super::longest_ping;

/// The probe with a page, beside which and in which there are files for nobody.
fn page() -> TestServer {
    let app = App::probe().with("[static]\ndir = \"web\"\n");
    for (file, text) in [
        ("web/index.html", "welcome"),
        ("web/.env", "secret"),
        ("web/.git/config", "secret"),
        ("web/old/millrace.toml", "secret"),
        ("notes.txt", "secret"),
    ] {
        let path = app.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let web = app.path().join("web");
    symlink("../notes.txt", web.join("notes.txt")).unwrap();
    symlink("../millrace.toml", web.join("settings.txt")).unwrap();
    symlink("..", web.join("up")).unwrap();
    symlink("/etc", web.join("etc")).unwrap();
    let mode = Mode::from_raw_mode(0o644);
    mknodat(CWD, web.join("pipe"), FileType::Fifo, mode, 0).unwrap();
    app.serve()
}

#[tokio::test]
async fn secrets_beside_a_page_are_served_to_nobody() {
    let server = page();
    let get = async |path: &str| HttpRequest::new("GET", path).send(server.address()).await;
    for path in [
        "/.env",
        "/%2Eenv",
        "/.git/config",
        "/old/millrace.toml",
        "/notes.txt",
        "/settings.txt",
        "/up/notes.txt",
        "/up/millrace.toml",
        "/etc/passwd",
    ] {
        let response = get(path).await;
        assert_eq!((response.status, response.body.as_str()), (404, "not found\n"), "{path}");
    }
    assert_eq!(get("/").await.body, "welcome");
}

#[tokio::test]
async fn a_pipe_in_the_page_holds_up_neither_others_nor_the_stop() {
    let server = page();
    for _ in 0..8 {
        let asked = HttpRequest::new("GET", "/pipe").send(server.address()).await;
        assert_eq!(asked.status, 404);
    }
    let mut bystander = server.client().await;
    bystander.join("room:files").await;
    longest_ping(&mut bystander, "room:files", 10).await;
    let request = HttpRequest::new("GET", "/");
    let served = timeout(Duration::from_secs(5), request.send(server.address())).await.unwrap();
    assert_eq!(served.body, "welcome");
    drop(bystander);
    assert!(server.terminate().success());
}

#[tokio::test]
async fn an_app_is_not_its_own_page() {
    for dir in [".", ".."] {
        let app = App::written(&format!(
            "[static]\ndir = {dir:?}\n[plugins.a]\ncomponent = \"a.wasm\"\n"
        ));
        let refused = run(["serve".as_ref(), app.path().as_os_str()]).await;
        refused.assert_refused(&["static.dir is", "a folder of its own"]);
    }
}
