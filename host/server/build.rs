//! Fetches the packages of the dashboard's page, which are then embedded, and says of which
//! commit a release is.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Both name what is fetched.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    fetch_packages();
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets CARGO_PKG_VERSION");
    // Whatever this is made of has all of the package compiled anew. While somebody works on
    // it, commits come and go, and nobody asks for the version.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    match is_release.then(commit).flatten() {
        Some(commit) => println!("cargo::rustc-env=MILLRACE_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=MILLRACE_VERSION={version}"),
    }
}

/// The commit that is checked out, if the package is part of a checkout.
fn commit() -> Option<String> {
    // In a folder of somebody else's repository it is not.
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    for name in ["HEAD", "logs/HEAD", "packed-refs"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        // What is not there would count as changed each time.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=10", "HEAD"])
}

/// What git answers; `None` without it, and when it refuses.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn fetch_packages() {
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let folder = Path::new(&out).join("dashboard");
    fs::create_dir_all(&folder).expect("a folder in OUT_DIR");
    let mut are_there = folder.join("node_modules/.package-lock.json").is_file();
    for manifest in MANIFESTS {
        let (from, to) = (Path::new("dashboard").join(manifest), folder.join(manifest));
        println!("cargo::rerun-if-changed={}", from.display());
        let wanted = fs::read(&from).expect("a manifest");
        are_there &= fs::read(&to).is_ok_and(|had| had == wanted);
        fs::write(&to, wanted).expect("a copy of the manifest");
    }
    if are_there {
        return;
    }
    let status = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&folder)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("`npm ci` in {} failed: {status}", folder.display()),
        Err(error) => panic!(
            "the packages of the dashboard cannot be fetched: npm does not start ({error}); \
             install Node.js 20 or later"
        ),
    }
}
