//! Pipelines without a server and without waiting: the kit that plugins are tested
//! with, and what holds of real plugins in virtual time.

mod notifications;
mod order;
mod outcomes;
mod time;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use millrace::testing::{TestApp, TestPipeline};
use serde_json::{Value, json};

/// An app of the workspace, its plugins built.
fn built(folder: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, bool>>> = Mutex::new(None);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join(folder);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    let ok = *built.entry(folder.to_owned()).or_insert_with(|| {
        let millrace = env!("CARGO_BIN_EXE_millrace");
        Command::new(millrace).arg("build").arg(&path).status().unwrap().success()
    });
    assert!(ok, "`millrace build {folder}` failed");
    path
}

/// A pipeline of the plugins of the jobs and the relay, with these settings.
async fn pipeline(name: &str, settings: &str) -> TestPipeline {
    let component = |app: &PathBuf, name: &str| {
        let component = app.join(format!(".millrace/{name}.wasm"));
        format!("[plugins.{name}]\ncomponent = {component:?}\n")
    };
    let (jobs, relay) = (built("tests/apps/jobs"), built("tests/apps/relay"));
    // Room for every instance is reserved, and tests side by side share the addresses.
    let mut toml = "[limits]\nmax_instances = 64\n".to_owned() + &component(&relay, "relay");
    for plugin in ["jobs", "fair", "isolate", "priority"] {
        toml.push_str(&component(&jobs, plugin));
    }
    toml.push_str(&format!("[pipelines.jobs]\npartition_by = \"/user\"\n{settings}"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kit-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("millrace.toml"), toml).unwrap();
    TestApp::load(&folder).await.unwrap().pipeline("jobs").unwrap()
}

/// A job of the jobs app that waits so long.
fn job(user: &str, seq: usize, work_ms: u64) -> Value {
    json!({ "user": user, "seq": seq, "work_ms": work_ms })
}

/// Who was done in which order: users, each with a number.
fn done(pipeline: &TestPipeline) -> Vec<(String, u64)> {
    let named = |payload: &Value| {
        let (user, seq) = (payload["user"].as_str().unwrap(), payload["seq"].as_u64().unwrap());
        (user.to_owned(), seq)
    };
    pipeline.broadcasts().iter().map(|broadcast| named(&broadcast.payload)).collect()
}

/// The numbers of one user's, in the order in which they were done.
fn of(user: &str, done: &[(String, u64)]) -> Vec<u64> {
    done.iter().filter(|(other, _)| other == user).map(|(_, seq)| *seq).collect()
}
