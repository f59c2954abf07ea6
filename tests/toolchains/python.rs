//! Python, by componentize-py.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{built, check, serves, wit};

const PACKAGE: &str = "componentize-py==0.25.1";

/// Installs the toolchain beside what is built, once.
fn toolchain() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE);
    let program = folder.join("bin/componentize-py");
    if !program.is_file() {
        let status = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
            .arg(&folder)
            .arg(PACKAGE)
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .status()
            .expect("python3 (3.10 or later) can be started");
        assert!(status.success(), "{PACKAGE} cannot be installed");
    }
    program
}

fn build() -> PathBuf {
    let (output, program) = (built("python"), toolchain());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("toolchains/python");
    let status = Command::new("python3")
        .arg(&program)
        .arg("-d")
        .arg(wit())
        .args(["-w", "channel-plugin", "componentize", "app", "-o"])
        .arg(&output)
        .env("PYTHONPATH", program.parent().and_then(Path::parent).unwrap())
        .current_dir(source)
        .status()
        .expect("python3 can be started");
    assert!(status.success(), "componentize-py failed");
    output
}

#[tokio::test]
async fn python_serves_a_channel() {
    let component = build();
    check(&component, &["wasi:sockets/tcp"]).await;
    serves(&component, Some("printed by Python"), "ValueError: boom").await;
}
