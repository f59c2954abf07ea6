//! The program run to its end, as in a terminal.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use crate::{PATIENCE, binary};

/// How a run of the program ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Runs `millrace ARGS…` to its end.
///
/// # Panics
/// If it does not end by itself.
pub async fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Run {
    run_in(&[], args).await
}

/// The same with these variables in its environment.
///
/// # Panics
/// If it does not end by itself.
pub async fn run_in<A: AsRef<OsStr>>(
    environment: &[(&str, &str)],
    args: impl IntoIterator<Item = A>,
) -> Run {
    let child = Command::new(binary())
        .args(args)
        .env_remove("MILLRACE_BIN")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the millrace program can be started");
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("the millrace program ends by itself")
        .expect("its output can be read");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Run {
    /// The run failed while starting: exit code 1, and all of these in the
    /// message.
    #[track_caller]
    pub fn assert_refused(&self, message: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        self.assert_says(message);
    }

    /// All of these are in what it complained about, and the program itself did
    /// not panic; a plugin may have.
    #[track_caller]
    pub fn assert_says(&self, message: &[&str]) {
        for part in message {
            assert!(self.stderr.contains(part), "{part:?} is missing in {self:#?}");
        }
        for thread in ["thread 'main'", "thread 'tokio"] {
            assert!(!self.stderr.contains(thread), "{self:#?}");
        }
    }
}
