//! `millrace.toml` and its mistakes.

use millrace_tests::{App, run};

/// Tries to serve an app with this `millrace.toml`; the message names the file
/// and has all of these parts.
async fn check(millrace_toml: &str, message: &[&str]) {
    let app = App::written(millrace_toml);
    let run = run(["serve".as_ref(), app.path().as_os_str()]).await;
    run.assert_refused(&["millrace.toml"]);
    run.assert_refused(message);
}

#[tokio::test]
async fn an_unknown_key_is_named_with_those_that_are_known() {
    check("lisen = 1", &["lisen", "listen"]).await;
    check("[socket]\nmax_chanels = 1", &["max_chanels is no key; did you mean max_channels?"])
        .await;
    check("[limits]\nfule = 1", &["fule", "fuel"]).await;
    check("[plugins.a]\npaths = \".\"", &["paths", "path"]).await;
    check("[static]\nfolder = \"web\"", &["folder", "dir"]).await;
    check("[sokcet]", &["sokcet", "socket"]).await;
}

#[tokio::test]
async fn a_value_of_another_type_is_named_with_what_is_expected() {
    check("listen = 4000", &["listen", "4000"]).await;
    check("listen = \"nonsense\"", &["listen", "address"]).await;
    check("[socket]\nmax_channels = \"many\"", &["max_channels", "many"]).await;
    check("[socket]\nmax_channels = -1", &["max_channels", "-1"]).await;
    check("[socket]\nidle_timeout_ms = 0", &["idle_timeout_ms", "0"]).await;
    check("[socket]\ncheck_origin = \"yes\"", &["check_origin", "yes"]).await;
    check("[socket]\ncheck_origin = [\"example.com\"]", &["example.com", "https://"]).await;
    check("[socket]\npath = \"socket\"", &["path", "/socket"]).await;
    check("[plugins.a]", &["a", "path", "component"]).await;
}

#[tokio::test]
async fn what_is_no_toml_is_shown_where_it_goes_wrong() {
    check("[socket", &["line 1"]).await;
    check("listen = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"", &["listen"]).await;
}
