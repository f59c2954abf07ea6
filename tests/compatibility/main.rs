//! Plugins that were built against an earlier interface keep working.
//!
//! `wit/frozen/VERSION` is what `wit/` was when that version was released, and is
//! never edited. From it components are made as the tools of that time made them.

mod batch;
mod golden;

use std::path::{Path, PathBuf};

use millrace_tests::{Run, run};
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

/// The versions that were released, each with a digest of its text.
const RELEASED: [(&str, u64); 1] = [("v0.1.0", 0xcb3f_b9dc_c231_4ae4)];

fn frozen(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/frozen").join(version)
}

/// The tracks as they are, which may have more than what was released of them.
fn tracks() -> [PathBuf; 2] {
    ["v0.1", "v0.2"].map(|track| Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit").join(track))
}

/// FNV-1a of all files of a folder, in the order of their names.
fn digest(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().flat_map(|file| std::fs::read(file).unwrap());
    texts.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The interface of a folder, and one of its worlds.
fn world(folder: &Path, world: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    (resolve, world)
}

/// A component of a core module, for a world.
fn component(mut module: Vec<u8>, resolve: &Resolve, world: WorldId) -> Vec<u8> {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().validate(true);
    encoder.module(&module).unwrap().encode().unwrap()
}

/// `millrace check` of a component that imports and exports all there is, and whose
/// functions trap.
async fn check(folder: &Path) -> Run {
    let (resolve, everything) = world(folder, "everything");
    let module = dummy_module(&resolve, everything, ManglingAndAbi::Standard32);
    let component = component(module, &resolve, everything);
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("everything.wasm");
    std::fs::write(&file, component).unwrap();
    run(["check".as_ref(), file.as_os_str()]).await
}

#[test]
fn what_was_released_is_never_edited() {
    for (version, expected) in RELEASED {
        let found = digest(&frozen(version));
        assert_eq!(
            found, expected,
            "wit/frozen/{version} was changed, so plugins of that version would be checked \
             against what never was; a new interface gets a folder of its own ({found:#x})"
        );
    }
}

/// It fits, is compiled and linked: what it fails in is its first call.
#[tokio::test]
async fn a_component_of_every_released_interface_fits() {
    let released = RELEASED.map(|(version, _)| frozen(version));
    for folder in released.into_iter().chain(tracks()) {
        let run = check(&folder).await;
        assert!(run.stderr.contains("failed in its first call"), "{folder:?}: {run:#?}");
    }
}

/// The check is one: it finds what no longer fits.
#[tokio::test]
async fn a_component_of_another_interface_does_not_fit() {
    let changes = [
        ("tasks.wit", "name: string, payload", "payload", "function `run`"),
        ("types.wit", "    json(list<u8>),\n", "", "differs"),
        ("host.wit", "now-ms: func", "now-s: func", "`now-s`"),
        ("channel.wit", "  topics: func() -> list<string>;\n", "", "`topics`"),
        ("worlds.wit", "package millrace:plugin@0.1.0", "package millrace:plugin@0.9.0", "@0.9.0"),
    ];
    for (file, before, after, named) in changes {
        let scratch = TempDir::new().unwrap();
        for entry in std::fs::read_dir(frozen("v0.1.0")).unwrap() {
            let entry = entry.unwrap();
            let mut text = std::fs::read_to_string(entry.path()).unwrap();
            if entry.file_name() == file {
                assert!(text.contains(before), "{file}: {before}");
                text = text.replace(before, after);
            }
            if after.ends_with("@0.9.0") {
                text = text.replace("@0.1.0", "@0.9.0");
            }
            std::fs::write(scratch.path().join(entry.file_name()), text).unwrap();
        }
        let run = check(scratch.path()).await;
        run.assert_refused(&["this host cannot run", named]);
    }
}
