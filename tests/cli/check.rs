//! `millrace check`.

use std::fs;

use millrace_tests::{App, run};
use tempfile::TempDir;

#[tokio::test]
async fn a_good_plugin_is_described() {
    let plugin = App::probe_plugin();
    let run = run(["check".as_ref(), plugin.path().as_os_str()]).await;
    assert_eq!(run.code, Some(0), "{run:#?}");
    let size = format!("{} bytes", fs::metadata(plugin.path()).unwrap().len());
    for part in ["exports:", "imports:", "millrace:plugin/channel", size.as_str()] {
        assert!(run.stdout.contains(part), "{part:?} is missing in {}", run.stdout);
    }
}

#[tokio::test]
async fn a_component_of_another_world_is_told_what_it_lacks() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("empty.wasm");
    // The smallest component there is: no exports, no imports.
    fs::write(&file, b"\0asm\x0d\0\x01\0").unwrap();
    let run = run(["check".as_ref(), file.as_os_str()]).await;
    run.assert_refused(&["empty.wasm", "millrace:plugin/channel"]);
}
