//! Tests of static files: files of the folder are served, and no others.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// An app whose page has every kind of file.
fn app() -> (TempDir, StaticFiles) {
    let app = tempfile::tempdir().unwrap();
    let at = |path: &str| app.path().join(path);
    for (path, text) in [
        ("web/index.html", "index"),
        ("web/deep/index.html", "deep"),
        ("web/a b.txt", "space"),
        ("web/.env", "secret"),
        ("web/.git/config", "secret"),
        ("web/other/millrace.toml", "secret"),
        ("web/.well-known/x", "secret"),
        ("outside.txt", "secret"),
        ("plugin.wasm", "secret"),
    ] {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs::write(at(path), text).unwrap();
    }
    symlink("../outside.txt", at("web/out.txt")).unwrap();
    symlink(app.path(), at("web/up")).unwrap();
    symlink(".env", at("web/env.txt")).unwrap();
    symlink("index.html", at("web/same.html")).unwrap();
    symlink("loop", at("web/loop")).unwrap();
    fs::hard_link(at("plugin.wasm"), at("web/code.bin")).unwrap();
    let fifo = rustix::fs::mknodat(
        rustix::fs::CWD,
        at("web/fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o644),
        0,
    );
    fifo.unwrap();
    let files = StaticFiles {
        dir: Some(at("web")),
        files: BTreeMap::from([
            ("/own.txt".to_owned(), at("outside.txt")),
            ("/dot".to_owned(), at("web/.env")),
            ("/device".to_owned(), PathBuf::from("/dev/zero")),
            ("/folder".to_owned(), at("web")),
        ]),
        hidden: vec![at("plugin.wasm"), at("gone.wasm")],
        ..StaticFiles::default()
    };
    (app, files)
}

fn found(url: &str, files: &StaticFiles) -> Option<String> {
    match find(url, files).unwrap() {
        Found::File(opened) => {
            let path = format!("/proc/self/fd/{}", opened.file.as_raw_fd());
            Some(fs::read_to_string(path).unwrap())
        }
        Found::Folder => Some("folder".to_owned()),
        Found::Nothing => None,
    }
}

#[test]
fn what_is_in_the_folder_is_found() {
    let (_app, files) = app();
    for (url, expected) in [
        ("/", "index"),
        ("/index.html", "index"),
        ("//index.html", "index"),
        ("/deep/", "deep"),
        ("/deep", "folder"),
        ("/a%20b.txt", "space"),
        ("/same.html", "index"),
        ("/own.txt", "secret"),
        ("/dot", "secret"),
    ] {
        assert_eq!(found(url, &files).as_deref(), Some(expected), "{url}");
    }
}

#[test]
fn nothing_else_is() {
    let (_app, files) = app();
    for url in [
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.well-known/x",
        "/env.txt",
        "/out.txt",
        "/up",
        "/up/",
        "/up/outside.txt",
        "/../outside.txt",
        "/deep/../index.html",
        "/other/millrace.toml",
        "/code.bin",
        "/fifo",
        "/device",
        "/folder",
        "/loop",
        "/index.html/",
        "/index.html/x",
        "/other/",
        "/x%00",
        "/%ff",
    ] {
        assert_eq!(found(url, &files), None, "{url}");
    }
}

#[test]
fn what_was_looked_at_is_what_is_served() {
    let (app, files) = app();
    let Found::File(opened) = find("/index.html", &files).unwrap() else { panic!() };
    let index = app.path().join("web/index.html");
    fs::remove_file(&index).unwrap();
    symlink("../outside.txt", &index).unwrap();
    let path = format!("/proc/self/fd/{}", opened.file.as_raw_fd());
    assert_eq!(fs::read_to_string(path).unwrap(), "index");
    assert_eq!(found("/index.html", &files), None);
}
