//! Tells when an app's sources have changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::Source;

/// An editor writes a file in several steps; a build starts once it is quiet.
const QUIET: Duration = Duration::from_millis(150);

/// Watches the packages of `sources` and calls `changed` after each burst of
/// changes. Runs until it is dropped.
pub async fn watch<'a, F: AsyncFnMut()>(
    sources: impl IntoIterator<Item = &'a Source>,
    mut changed: F,
) -> Result<(), notify::Error> {
    // One change is as good as many: what does not fit need not be kept.
    let (sender, mut events) = mpsc::channel(1);
    let mut watcher = RecommendedWatcher::new(
        move |event: Result<Event, notify::Error>| {
            if event.is_ok_and(|event| matters(&event)) {
                let _ = sender.try_send(());
            }
        },
        notify::Config::default(),
    )?;
    for (folder, mode) in sources.into_iter().flat_map(watched) {
        watcher.watch(&folder, mode)?;
    }
    while events.recv().await.is_some() {
        while let Ok(Some(())) = tokio::time::timeout(QUIET, events.recv()).await {}
        changed().await;
    }
    Ok(())
}

/// A package's `src` whole, its folder for `Cargo.toml`; never `target`.
fn watched(source: &Source) -> Vec<(PathBuf, RecursiveMode)> {
    match source {
        Source::File(file) => {
            let folder = file.parent().unwrap_or(Path::new("."));
            vec![(folder.to_owned(), RecursiveMode::NonRecursive)]
        }
        Source::Crate { folder, .. } => {
            let src = folder.join("src");
            let mut watched = vec![(folder.clone(), RecursiveMode::NonRecursive)];
            if src.is_dir() {
                watched.push((src, RecursiveMode::Recursive));
            }
            watched
        }
    }
}

fn matters(event: &Event) -> bool {
    let changes =
        matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
    let source = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rs" || extension == "wasm")
            || path.file_name().is_some_and(|name| name == "Cargo.toml")
    };
    changes && event.paths.iter().any(source)
}
