//! A JavaScript client under Node.js that tells what it sees, one JSON term on
//! each line.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::PATIENCE;

/// Four times as long as for the rest: browsers start slowly, and phoenix.js
/// waits up to five seconds before it tries again.
const SCRIPT_PATIENCE: std::time::Duration = PATIENCE.saturating_mul(4);

/// A running script; it ends with the test.
#[derive(Debug)]
pub struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts `node FILE ARGS…`, where `file` is inside the package of the tests
    /// and beside a `package.json`, whose packages are installed first.
    ///
    /// # Panics
    /// If there is no Node.js, or the packages cannot be installed.
    #[must_use]
    pub fn start(file: &str, args: &[&str]) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        install_once(file.parent().expect("a script is in a folder"));
        let mut child = Command::new("node")
            .arg(file)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node (Node.js 18 or later) can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// The next thing the script tells.
    ///
    /// # Panics
    /// If it tells nothing; its stderr, which is the test's, says why.
    pub async fn next(&mut self) -> Value {
        let line = timeout(SCRIPT_PATIENCE, self.lines.next_line()).await;
        let line = line.expect("the script goes on").expect("its output can be read");
        let line = line.expect("the script has more to tell");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// The next thing the script tells is exactly this.
    ///
    /// # Panics
    /// If it is not.
    pub async fn expect(&mut self, expected: Value) {
        let found = self.next().await;
        assert!(found == expected, "\nexpected {expected}\n   found {found}");
    }

    /// The script ends well, with nothing more to tell.
    ///
    /// # Panics
    /// If it does not.
    pub async fn expect_end(mut self) {
        let rest = timeout(SCRIPT_PATIENCE, self.lines.next_line()).await;
        let rest = rest.expect("the script ends").expect("its output can be read");
        assert_eq!(rest, None, "the script has more to tell");
        let status = self.child.wait().await.expect("the script's exit status");
        assert!(status.success(), "the script failed: {status}");
    }
}

/// Runs `npm ci` in a folder, unless what is there is what its
/// `package-lock.json` asks for.
///
/// # Panics
/// If there is no npm, or it fails.
pub fn install_once(folder: &Path) {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if is_installed(folder) {
        return;
    }
    let status = std::process::Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .status()
        .expect("npm can be started");
    assert!(status.success(), "`npm ci` failed in {}", folder.display());
}

/// As npm sees it: its own copy of the lock file is written last.
fn is_installed(folder: &Path) -> bool {
    let modified = |path: PathBuf| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let installed = modified(folder.join("node_modules/.package-lock.json"));
    installed.is_some_and(|at| Some(at) >= modified(folder.join("package-lock.json")))
}
