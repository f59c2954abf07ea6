//! Fetches the packages of the dashboard's page, which are then embedded.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Both name what is fetched.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

fn main() {
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let folder = Path::new(&out).join("dashboard");
    fs::create_dir_all(&folder).expect("a folder in OUT_DIR");
    for manifest in MANIFESTS {
        let from = Path::new("dashboard").join(manifest);
        println!("cargo::rerun-if-changed={}", from.display());
        fs::copy(&from, folder.join(manifest)).expect("a copy of the manifest");
    }
    println!("cargo::rerun-if-changed=build.rs");
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
