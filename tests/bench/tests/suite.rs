//! The suite in its short form: every workload on every server, nothing lost and nothing doubled.
//! Times are not checked.

use std::process::Command;

use millrace_tests::binary;
use serde_json::Value;

#[test]
fn nothing_is_lost_or_doubled_on_any_server() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("suite.json");
    let output = Command::new(env!("CARGO_BIN_EXE_millrace-bench"))
        .args(["suite", "--short", "--millrace"])
        .arg(binary())
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let (out, log) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&log));
    assert!(out.ends_with("\nLost or doubled: 0\n"), "{out}");
    let found: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    for part in found["parts"].as_array().unwrap() {
        for server in part["measured"]["servers"].as_array().unwrap() {
            for figure in server["figures"].as_array().unwrap() {
                // Every count has to be above zero.
                if figure["name"].as_str().unwrap().ends_with("a second") {
                    assert!(figure["median"].as_f64().unwrap() > 0.0, "{part}");
                }
            }
        }
    }
    let of = |part: &Value| part["measured"]["servers"].as_array().unwrap().len();
    let servers: Vec<usize> = found["parts"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(servers, [4, 4, 4, 4, 4, 4, 4, 4, 3, 2]);
}
