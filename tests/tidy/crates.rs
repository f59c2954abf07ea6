//! Layers between the crates below `host/`, as their `Cargo.toml` say.

use millrace_tests::repository;

use crate::finding::{self, Finding};
use crate::rules::{ANY_CRATE_MAY_USE, CRATES, CRATES_WHY, Crate, ONLY_IN};

/// A `Cargo.toml`.
struct Manifest {
    /// The folder of its crate below `host/`.
    folder: String,
    text: String,
}

/// A dependency, of whichever kind.
struct Dependency<'a> {
    line: usize,
    /// Whether only tests and benches have it.
    is_dev: bool,
    name: &'a str,
}

impl Manifest {
    fn path(&self) -> String {
        format!("host/{}/Cargo.toml", self.folder)
    }

    /// What it depends on, in `[dependencies]` and the sections like it.
    fn dependencies(&self) -> Vec<Dependency<'_>> {
        let mut section = "";
        let mut found = Vec::new();
        for (number, line) in self.text.lines().enumerate() {
            let header = line.strip_prefix('[').and_then(|line| line.split(']').next());
            section = header.unwrap_or(section);
            let is_dev = section.contains("dev-dependencies");
            let name = match (header, section.rsplit_once("dependencies.")) {
                // `[dependencies.name]`
                (Some(_), Some((_, name))) => name,
                (None, None) if section.ends_with("dependencies") && !line.starts_with('#') => {
                    line.split(['.', ' ', '=']).next().unwrap_or_default()
                }
                _ => continue,
            };
            // `other = { package = "name" }`
            let renamed = line.split("package = \"").nth(1).and_then(|name| name.split('"').next());
            let name = renamed.unwrap_or(name);
            if !name.is_empty() {
                found.push(Dependency { line: number + 1, is_dev, name });
            }
        }
        found
    }
}

fn manifests() -> Vec<Manifest> {
    let host = repository::root().join("host");
    let paths = repository::files("toml");
    let folders = paths.iter().filter_map(|path| path.to_str()?.strip_prefix("host/"));
    let folders = folders.filter_map(|path| path.strip_suffix("/Cargo.toml"));
    let manifest = |folder: &str| Manifest {
        folder: folder.to_owned(),
        text: std::fs::read_to_string(host.join(folder).join("Cargo.toml")).unwrap(),
    };
    folders.map(manifest).collect()
}

fn check(manifests: &[Manifest]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in manifests {
        let path = manifest.path();
        let Some(layer) = CRATES.iter().find(|layer| layer.folder == manifest.folder) else {
            let allowed = "the crates of CRATES in tests/tidy/rules.rs; give it a place there";
            findings.push(Finding::new(&path, 1, "a crate without a layer", allowed, CRATES_WHY));
            continue;
        };
        for dependency in manifest.dependencies() {
            findings.extend(upward(layer, &path, &dependency));
            findings.extend(elsewhere(layer, &path, &dependency));
        }
    }
    findings
}

/// A crate of the workspace that is not below.
fn upward(layer: &Crate, path: &str, dependency: &Dependency<'_>) -> Option<Finding> {
    let name = dependency.name;
    let is_ours = name == "millrace" || name.starts_with("millrace-");
    let below = CRATES.iter().filter(|other| layer.may_use.contains(&other.folder));
    let mut allowed: Vec<&str> = below.map(|other| other.package).collect();
    allowed.extend(ANY_CRATE_MAY_USE);
    // A crate above may be what the tests of one below are made with.
    if !is_ours || dependency.is_dev || allowed.contains(&name) {
        return None;
    }
    let found = format!("{} depends on {name}", layer.package);
    Some(Finding::new(path, dependency.line, found, allowed.join(", "), CRATES_WHY))
}

/// A dependency that only other crates may have.
fn elsewhere(layer: &Crate, path: &str, dependency: &Dependency<'_>) -> Option<Finding> {
    let (name, folders, why) = ONLY_IN.iter().find(|(name, ..)| *name == dependency.name)?;
    if folders.contains(&layer.folder) {
        return None;
    }
    let found = format!("{} depends on {name}", layer.package);
    let allowed = format!("{name} below host/ in {}", folders.join(", "));
    Some(Finding::new(path, dependency.line, found, allowed, why))
}

#[test]
fn crates_depend_on_those_below_them() {
    finding::none(&check(&manifests()));
}

#[test]
fn every_layer_is_a_crate_and_those_it_may_use_stand_before_it() {
    let folders: Vec<&str> = CRATES.iter().map(|layer| layer.folder).collect();
    for (place, layer) in CRATES.iter().enumerate() {
        let is_before = |other: &&str| folders[..place].contains(other);
        assert!(layer.may_use.iter().all(is_before), "CRATES: {}", layer.folder);
        let manifests = manifests();
        let is_there = manifests.iter().any(|manifest| {
            let name = format!("name = \"{}\"", layer.package);
            manifest.folder == layer.folder && manifest.text.lines().any(|line| line == name)
        });
        assert!(is_there, "there is no host/{} of package {}", layer.folder, layer.package);
    }
}

#[test]
fn a_dependency_on_a_crate_above_is_found() {
    let text = "[package]\nname = \"millrace-session\"\n\n[dependencies]\nbytes.workspace = true\n\
                millrace-wire.workspace = true\nmillrace-telemetry.workspace = true\n\
                [dev-dependencies]\nmillrace-pipeline.workspace = true\n";
    let session = Manifest { folder: "session".to_owned(), text: text.to_owned() };
    let findings = check(&[session]);
    finding::are(
        &findings,
        &["host/session/Cargo.toml:7: millrace-session depends on millrace-telemetry"],
    );
}

#[test]
fn a_dependency_of_one_layer_alone_is_found_however_it_is_written() {
    let text = "[dependencies.tokio]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\n\
                runtime = { package = \"wasmtime\", version = \"48\" }\n[dev-dependencies]\n\
                # hyper\nhyper = { workspace = true }\n[[bench]]\nname = \"tokio\"\n";
    let wire = Manifest { folder: "wire".to_owned(), text: text.to_owned() };
    let new = Manifest { folder: "new".to_owned(), text: String::new() };
    let expected = [
        "host/wire/Cargo.toml:1: millrace-wire depends on tokio",
        "host/wire/Cargo.toml:4: millrace-wire depends on wasmtime",
        "host/wire/Cargo.toml:7: millrace-wire depends on hyper",
        "host/new/Cargo.toml:1: a crate without a layer",
    ];
    finding::are(&check(&[wire, new]), &expected);
}
