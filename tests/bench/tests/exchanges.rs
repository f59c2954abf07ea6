//! Exchanges under a small load: nothing is lost or doubled, and everything is in order. Times are
//! not checked.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use millrace_tests::binary;

/// A lock, as only one server at a time may use the stored versions of an app's plugins.
static SERVED: Mutex<()> = Mutex::new(());

fn exchanges(of: &str) {
    let _served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("exchanges");
    let serve = format!("{} serve {} --listen 127.0.0.1:0", binary().display(), app.display());
    let output = Command::new(env!("CARGO_BIN_EXE_millrace-bench"))
        .args(["compare", "--rounds", "1", "--server", &format!("millrace={serve}")])
        .args(["exchanges", "--of", of, "--clients", "100", "--topics", "10"])
        .args(["--pings-per-second", "500", "--exchanges", "5", "--seconds", "0.5"])
        .output()
        .unwrap();
    let (out, log) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&log));
    assert!(out.contains("| lost | millrace | 0 |"), "{out}");
}

#[test]
fn of_a_handler() {
    exchanges("handler");
}

#[test]
fn of_a_dispatcher() {
    exchanges("dispatcher");
}

#[test]
fn of_a_bad_version_for_a_few_clients() {
    exchanges("canary");
}
