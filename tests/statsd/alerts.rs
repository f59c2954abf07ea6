//! The alert rules without thresholds of `examples/observability`, over made series:
//! Graphite's own functions say what fires and what does not. The series are in
//! `tests/graphite/alerts.py`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// From the event to the alarm at most, in minutes: a rule's three, and what chance takes.
const SOON: f64 = 10.0;

/// The Python of a virtual environment with Graphite in it, made the first time.
fn graphite() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (folder, wanted) =
        (root.join("target/graphite"), root.join("tests/graphite/requirements.txt"));
    let (python, installed) = (folder.join("bin/python"), folder.join("requirements.txt"));
    if fs::read(&installed).ok() != fs::read(&wanted).ok() {
        let base = base_python();
        run(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let exactly = ["--no-deps", "--require-hashes", "-r"];
        run(Command::new(&python).args(pip).args(exactly).arg(&wanted));
        fs::copy(&wanted, &installed).unwrap();
    }
    python
}

/// Graphite's last release runs on Python 3.11 and on no later one.
fn base_python() -> &'static str {
    let fits = |name: &&&str| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).starts_with("Python 3.11."))
    };
    let names: &'static [&'static str] = &["python3.11", "python3"];
    names.iter().find(fits).expect("Python 3.11, with venv, is installed")
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a rule has to fire over a series.
fn fires(rule: &str, series: &str) -> bool {
    let may_be_new = ["millrace-unusual-faults", "millrace-unusual-refused"].contains(&rule);
    match series {
        "step" | "quick_rise" => true,
        // Where there was never any of it, any is unusual; of the other figures there is no
        // past to compare with.
        "new" => may_be_new,
        "spike" | "slow_rise" | "season" | "noise" | "start" => false,
        other => panic!("what is to come of {other}?"),
    }
}

#[test]
fn rules_without_thresholds_fire_where_they_should() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let storage = TempDir::new().unwrap();
    let mut command = Command::new(graphite());
    command
        .arg(root.join("tests/graphite/alerts.py"))
        .arg(root.join("examples/observability/grafana/alerts.yaml"))
        .arg(storage.path());
    let told: Vec<Value> =
        run(&mut command).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Five rules, eight series.
    assert_eq!(told.len(), 40, "{told:#?}");
    for said in &told {
        let [rule, series] = ["rule", "series"].map(|name| said[name].as_str().unwrap());
        let alarms = said["minutes"].as_array().unwrap();
        let first = alarms.first().map(|minutes| minutes.as_f64().unwrap());
        let is_right = first.is_some_and(|first| first <= SOON) == fires(rule, series);
        assert!(is_right && (first.is_some() == fires(rule, series)), "{said}");
    }
}
