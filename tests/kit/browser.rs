//! Chromium, for scripts that open pages.

use std::path::Path;

/// Where Debian puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Where Chromium is. Without it the test cannot run, which is said, and is a
/// failure in CI.
///
/// # Panics
/// If it is missing in CI.
#[must_use]
pub fn chromium() -> Option<&'static str> {
    if Path::new(CHROMIUM).exists() {
        return Some(CHROMIUM);
    }
    assert!(std::env::var_os("CI").is_none(), "{CHROMIUM} is missing, and CI must have it");
    eprintln!("NOT RUN: a test with a browser needs {CHROMIUM}, which is missing");
    None
}

/// Where pictures of pages are kept: in `MILLRACE_SCREENSHOT_DIR`, or else in
/// `temporary`.
#[must_use]
pub fn screenshots(temporary: &Path) -> String {
    let kept = std::env::var("MILLRACE_SCREENSHOT_DIR");
    kept.unwrap_or_else(|_| temporary.display().to_string())
}

/// A picture was taken.
///
/// # Panics
/// If there is none of that name in `folder`.
pub fn assert_picture(folder: &str, name: &str) {
    let picture = std::fs::read(Path::new(folder).join(name)).expect("a screenshot");
    assert!(picture.starts_with(b"\x89PNG"), "{name} is no picture");
}
