//! Tests of which versions stay, which are removed, and who may write.

use super::*;

fn store(most: usize) -> (tempfile::TempDir, VersionStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = VersionStore::new(&folder.path().join(".millrace"), most);
    (folder, store)
}

/// The SHA-256 of version `a`, and so on.
fn sha(version: &str) -> String {
    version.repeat(64)
}

fn put(store: &VersionStore, version: &str) {
    store.put("room", &sha(version), b"wasm", None).unwrap();
}

/// Makes a version live, in place of another.
fn set_live(store: &VersionStore, version: &str, before: Option<&str>) {
    let before = before.map(sha);
    store.set_live("room", &sha(version), &sha("0"), before.as_deref()).unwrap();
}

/// The versions that are there.
fn there(store: &VersionStore) -> String {
    let entries = fs::read_dir(store.folder.join("room")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let wasm = paths.filter(|path| path.extension().unwrap() == "wasm");
    let mut names: Vec<_> =
        wasm.map(|path| path.file_stem().unwrap().to_str().unwrap()[..1].to_owned()).collect();
    names.sort();
    names.concat()
}

#[test]
fn what_was_made_live_is_live_until_another_file_is_configured() {
    let (_folder, store) = store(5);
    assert_eq!(store.live("room", &sha("0")), None);
    store.put("room", &sha("a"), b"wasm", Some(b"signature")).unwrap();
    assert_eq!(store.live("room", &sha("0")), None, "it is only kept yet");
    set_live(&store, "a", Some("0"));
    let live = store.live("room", &sha("0")).unwrap();
    assert_eq!((fs::read(live.path).unwrap(), live.sha256), (b"wasm".to_vec(), sha("a")));
    assert_eq!(live.signature.as_deref(), Some(&b"signature"[..]));
    assert_eq!(store.live("room", &sha("d")), None, "another file is configured");
    for before in [None, Some("a"), None, None] {
        set_live(&store, "0", before);
        assert_eq!(store.live("room", &sha("0")), None, "back to the configured one");
        assert_eq!(store.version_before("room", &sha("0")), before.map(sha));
    }
}

#[test]
fn the_version_before_is_known_without_the_history() {
    let (folder, store) = store(5);
    put(&store, "a");
    set_live(&store, "a", Some("0"));
    drop(store);
    let store = VersionStore::new(&folder.path().join(".millrace"), 5);
    assert_eq!(store.version_before("room", &sha("a")), Some(sha("0")));
    assert_eq!(store.version_before("room", &sha("b")), None);
}

#[test]
fn the_oldest_versions_go_but_not_the_live_one_nor_that_before_it() {
    let (_folder, store) = store(3);
    put(&store, "a");
    set_live(&store, "a", Some("0"));
    put(&store, "b");
    set_live(&store, "b", Some("a"));
    for canary in ["c", "d", "e", "f"] {
        put(&store, canary);
        assert!(there(&store).starts_with("ab"), "{}", there(&store));
    }
    assert_eq!(there(&store), "abf");
    set_live(&store, "f", Some("b"));
    put(&store, "1");
    assert_eq!(there(&store), "1bf");
}

#[test]
fn what_live_json_says_is_no_path_and_need_not_be_whole() {
    let (_folder, store) = store(3);
    put(&store, "a");
    let path = store.folder.join("room/live.json");
    let configured = sha("0");
    for text in [
        String::new(),
        "{".to_owned(),
        format!(r#"{{"sha256":"../../../x","configured":"{configured}"}}"#),
        format!(r#"{{"sha256":"{}","configured":"{configured}"}}"#, "A".repeat(64)),
        format!(r#"{{"sha256":"","configured":"{configured}","before":"../x"}}"#),
    ] {
        fs::write(&path, &text).unwrap();
        assert_eq!(store.live("room", &configured), None, "{text}");
        assert_eq!(store.version_before("room", &sha("a")), None, "{text}");
    }
}

#[test]
fn one_server_at_a_time_keeps_versions_in_a_folder() {
    let (folder, first) = store(5);
    put(&first, "a");
    let second = VersionStore::new(&folder.path().join(".millrace"), 5);
    let error = second.put("room", &sha("b"), b"wasm", None).unwrap_err().to_string();
    assert!(error.contains("another server") && error.contains("a copy"), "{error}");
    drop(first);
    put(&second, "b");
    assert_eq!(there(&second), "ab");
}

#[test]
fn nobody_else_reads_what_is_kept() {
    let (_folder, store) = store(5);
    put(&store, "a");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store.folder), 0o700);
    assert_eq!(mode(store.folder.parent().unwrap()), 0o700);
    assert_eq!(mode(&store.component("room", &sha("a"))), 0o600);
}

#[test]
fn what_cannot_be_written_changes_nothing() {
    let (_folder, store) = store(5);
    put(&store, "a");
    set_live(&store, "a", Some("0"));
    // A folder where the file is to be written: as good as a full disk.
    let pid = std::process::id();
    fs::create_dir(store.folder.join(format!("room/{}.{pid}.partial", sha("b")))).unwrap();
    assert!(store.put("room", &sha("b"), b"wasm", None).is_err());
    assert!(store.live("room", &sha("0")).unwrap().path.ends_with(sha("a") + ".wasm"));
}
