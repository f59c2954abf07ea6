//! Watches files for changes.
//!
//! The system's events are only the reason to look: what has changed is found by comparing the
//! files with what they were. So it does not matter which events an editor's way of writing causes,
//! or whether a folder is removed and made anew. Where there are no events at all (mounts of
//! Docker, network file systems), the files are compared every now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::warn;

use super::inputs::is_written_by_builds;

/// The time without another change after which a change is told: an editor writes a file in several
/// steps.
const QUIET: Duration = Duration::from_millis(50);
/// The time after which the files are compared without an event: a folder may have been made anew
/// unseen.
const RECHECK: Duration = Duration::from_secs(2);
/// The number of files that are compared; changes of more are not seen.
const MAX_FILES: usize = 20_000;

/// Watches files and folders.
pub(crate) struct Watch {
    /// The time between two looks, if they do not wait for events.
    poll: Option<Duration>,
    events: Option<(RecommendedWatcher, mpsc::Receiver<()>)>,
    inputs: BTreeSet<PathBuf>,
    seen: Snapshot,
}

/// The files that there are, with a stamp of each.
type Snapshot = BTreeMap<PathBuf, FileStamp>;

/// A stamp that changes whenever a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    modified: (i64, i64),
    len: u64,
    inode: u64,
}

impl Watch {
    /// Watches nothing yet. With `poll`, the files are compared so often, without events.
    pub(crate) fn new(poll: Option<Duration>) -> Self {
        let events = if poll.is_some() { None } else { events() };
        // If the system has no events, the files are compared now and then as well.
        let poll = poll.or(events.is_none().then_some(RECHECK));
        Self { poll, events, inputs: BTreeSet::new(), seen: Snapshot::new() }
    }

    /// Watches this file as well.
    pub(crate) fn also(&mut self, input: PathBuf) {
        let mut inputs = self.inputs.clone();
        inputs.insert(input);
        self.go_on(inputs);
    }

    /// Watches these files from now on, compared with what they are now.
    fn begin(&mut self, inputs: BTreeSet<PathBuf>) {
        self.seen = snapshot(&inputs);
        self.inputs = inputs;
        self.arm();
    }

    /// Watches these files after a build. What was changed while it ran, and not by it, is found
    /// next.
    pub(crate) fn go_on(&mut self, inputs: BTreeSet<PathBuf>) {
        let (before, watched) = (std::mem::take(&mut self.seen), std::mem::take(&mut self.inputs));
        self.begin(inputs);
        // A file that is in one of two snapshots only counts as changed.
        self.seen.retain(|path, _| {
            before.contains_key(path) || !is_of(path, &watched) || is_written_by_builds(path)
        });
        let stamps = before.into_iter();
        let stamps =
            stamps.filter(|(path, _)| is_of(path, &self.inputs) && !is_written_by_builds(path));
        self.seen.extend(stamps);
    }

    /// Waits until files have changed, and returns them.
    pub(crate) async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            let mut now = snapshot(&self.inputs);
            if now != self.seen {
                loop {
                    tokio::time::sleep(QUIET).await;
                    let later = snapshot(&self.inputs);
                    if later == now {
                        break;
                    }
                    now = later;
                }
                let changed = differences(&self.seen, &now);
                self.seen = now;
                self.arm();
                if !changed.is_empty() {
                    return changed;
                }
            }
            self.wake().await;
        }
    }

    /// Waits for an event or a time to look.
    async fn wake(&mut self) {
        match (&mut self.events, self.poll) {
            (Some((_, events)), None) => {
                let _ = tokio::time::timeout(RECHECK, events.recv()).await;
                self.arm();
            }
            (_, poll) => tokio::time::sleep(poll.unwrap_or(RECHECK)).await,
        }
    }

    /// Asks for events of all folders that there are by now.
    fn arm(&mut self) {
        let Some((watcher, _)) = &mut self.events else { return };
        let files = self.inputs.iter().chain(self.seen.keys());
        let folders: BTreeSet<&Path> = files
            .filter_map(|file| file.ancestors().skip(1).find(|folder| folder.is_dir()))
            .collect();
        for folder in folders {
            // A folder that is removed meanwhile is found by comparing.
            let folder = if folder == Path::new("") { Path::new(".") } else { folder };
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
    }
}

fn events() -> Option<(RecommendedWatcher, mpsc::Receiver<()>)> {
    // One event is as good as many, so what does not fit is dropped.
    let (sender, events) = mpsc::channel(1);
    let changed = move |event: Result<Event, notify::Error>| {
        // Reading a file is an event, too, and no change.
        if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
            let _ = sender.try_send(());
        }
    };
    match RecommendedWatcher::new(changed, notify::Config::default()) {
        Ok(watcher) => Some((watcher, events)),
        Err(error) => {
            warn!(%error, "the system sends no events of files; they are looked at instead");
            None
        }
    }
}

fn is_of(path: &Path, inputs: &BTreeSet<PathBuf>) -> bool {
    path.ancestors().any(|path| inputs.contains(path))
}

fn snapshot(inputs: &BTreeSet<PathBuf>) -> Snapshot {
    let mut all = Snapshot::new();
    for path in inputs {
        add_files(path, &mut all);
    }
    all
}

/// Adds a file, or the files in a folder, up to [`MAX_FILES`].
fn add_files(path: &Path, all: &mut Snapshot) {
    if all.len() >= MAX_FILES {
        return;
    }
    let Ok(found) = fs::metadata(path) else { return };
    if !found.is_dir() {
        all.insert(path.to_owned(), FileStamp::of(&found));
        return;
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if is_source(&entry.path()) && entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            add_files(&entry.path(), all);
        }
    }
}

/// Whether a file is a source: not what editors write beside files, nor what builds make.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_temporary = name.starts_with(['.', '#'])
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name == "4913";
    !is_temporary && name != "target" && name != "node_modules"
}

/// The files that are different in two snapshots, or in one of them only.
fn differences(before: &Snapshot, after: &Snapshot) -> Vec<PathBuf> {
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let all: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    all.into_iter().filter(differs).cloned().collect()
}

impl FileStamp {
    fn of(found: &Metadata) -> Self {
        let modified = (found.mtime(), found.mtime_nsec());
        Self { modified, len: found.len(), inode: found.ino() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Option<Duration> = Some(Duration::from_millis(5));
    const TIMEOUT: Duration = Duration::from_secs(20);

    async fn next(watch: &mut Watch) -> Vec<String> {
        let changed = tokio::time::timeout(TIMEOUT, watch.changed()).await.unwrap();
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        changed.iter().map(name).collect()
    }

    /// Checks a series of changes; without `poll`, with events.
    async fn check(poll: Option<Duration>) {
        let root = tempfile::tempdir().unwrap();
        let (src, config) = (root.path().join("src"), root.path().join("millrace.toml"));
        fs::create_dir(&src).unwrap();
        fs::write(src.join("lib.rs"), "1").unwrap();
        let mut watch = Watch::new(poll);
        watch.begin(BTreeSet::from([src.clone(), config.clone()]));
        fs::write(src.join("lib.rs"), "22").unwrap();
        assert_eq!(next(&mut watch).await, ["lib.rs"]);
        // As some editors do.
        fs::write(src.join("lib.rs~"), "22").unwrap();
        fs::rename(src.join("lib.rs~"), src.join("lib.rs")).unwrap();
        assert_eq!(next(&mut watch).await, ["lib.rs"]);
        fs::create_dir(src.join("more")).unwrap();
        fs::write(src.join("more/mod.rs"), "").unwrap();
        assert_eq!(next(&mut watch).await, ["mod.rs"]);
        fs::write(&config, "").unwrap();
        assert_eq!(next(&mut watch).await, ["millrace.toml"]);
        // As a checkout of another branch does.
        fs::remove_dir_all(&src).unwrap();
        assert_eq!(next(&mut watch).await, ["lib.rs", "mod.rs"]);
        fs::create_dir(&src).unwrap();
        fs::write(src.join("lib.rs"), "4444").unwrap();
        assert_eq!(next(&mut watch).await, ["lib.rs"]);
        fs::write(src.join("lib.rs"), "55555").unwrap();
        assert_eq!(next(&mut watch).await, ["lib.rs"]);
    }

    #[tokio::test]
    async fn changes_are_found_with_events_also_in_folders_that_are_made_anew() {
        check(None).await;
    }

    #[tokio::test]
    async fn changes_are_found_without_events() {
        check(POLL).await;
    }

    #[tokio::test]
    async fn what_is_changed_while_a_build_runs_is_found_after_it() {
        let root = tempfile::tempdir().unwrap();
        let [lib, lock, text] = ["lib.rs", "Cargo.lock", "text"].map(|name| root.path().join(name));
        [&lib, &lock, &text].iter().for_each(|path| fs::write(path, "1").unwrap());
        let mut watch = Watch::new(POLL);
        watch.begin(BTreeSet::from([lib.clone(), lock.clone()]));
        fs::write(&lib, "22").unwrap();
        fs::write(&lock, "22").unwrap();
        watch.go_on(BTreeSet::from([lib.clone(), lock.clone(), text.clone()]));
        assert_eq!(next(&mut watch).await, ["lib.rs"]);
        fs::write(&text, "22").unwrap();
        assert_eq!(next(&mut watch).await, ["text"]);
        fs::write(&lock, "333").unwrap();
        assert_eq!(next(&mut watch).await, ["Cargo.lock"]);
    }
}
