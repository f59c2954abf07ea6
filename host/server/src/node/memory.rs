//! The memory of the server, and how much of it is left.
//!
//! The measure is the resident memory of the process, which has everything in it. Limits of
//! connections and plugins keep any of them from taking most of it; this limit is for all of them
//! together.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use millrace_telemetry::resident_bytes;

/// The memory of the server.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The limit (`memory.max_bytes`).
    max_bytes: u64,
    used_bytes: AtomicU64,
    state: AtomicU8,
}

/// The memory that is left, in three levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum MemoryLeft {
    /// Enough for everything.
    Enough,
    /// Not enough for new connections, which are refused.
    Little,
    /// Not enough for large messages either.
    Nothing,
}

/// The interval between two looks at the memory.
pub(crate) const MEASURE_INTERVAL: Duration = Duration::from_millis(100);
/// The looks after which free memory is given back to the system, which is once a second.
pub(crate) const RELEASE_EVERY: u32 = 10;
/// The percentage of the limit from which on new connections are refused.
const LITTLE_PERCENT: u64 = 90;
/// The fifths of the machine's memory that the server may have by default.
const FIFTHS: u64 = 4;

/// Gives the system the memory that has been free for a second. The allocator does that only when
/// somebody allocates, and so not after everybody has gone.
#[expect(unsafe_code, reason = "the allocator's crate has no name for it")]
pub(crate) fn release_free_memory() {
    // SAFETY: the function has no conditions. Without force, it looks through the free memory of
    // this thread, and at what all others have freed.
    unsafe { libmimalloc_sys::mi_collect(false) };
}

impl Memory {
    /// Sets the limit in bytes; 0 means four fifths of what the machine or the container has.
    pub(crate) fn new(max_bytes: u64) -> Self {
        let max_bytes = match max_bytes {
            0 => available(Path::new("/")).map_or(u64::MAX, |bytes| bytes / 5 * FIFTHS),
            set => set,
        };
        Self { max_bytes, used_bytes: AtomicU64::new(0), state: AtomicU8::new(0) }
    }

    /// The memory that the server may have, in bytes.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The memory at the last look, in bytes.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether new connections are refused.
    pub(crate) fn is_scarce(&self) -> bool {
        self.state.load(Ordering::Relaxed) >= MemoryLeft::Little as u8
    }

    /// Whether large messages are refused, too.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.state.load(Ordering::Relaxed) >= MemoryLeft::Nothing as u8
    }

    /// Looks at the memory. Returns what is left, if the level has changed.
    pub(crate) fn measure(&self) -> Option<MemoryLeft> {
        self.note(resident_bytes())
    }

    fn note(&self, used: u64) -> Option<MemoryLeft> {
        self.used_bytes.store(used, Ordering::Relaxed);
        let left = match used {
            _ if used >= self.max_bytes => MemoryLeft::Nothing,
            _ if used >= self.max_bytes / 100 * LITTLE_PERCENT => MemoryLeft::Little,
            _ => MemoryLeft::Enough,
        };
        let before = self.state.swap(left as u8, Ordering::Relaxed);
        (before != left as u8).then_some(left)
    }
}

/// The memory of the machine, or of the container if that is less. `root` is the folder that has
/// `proc` and `sys`.
fn available(root: &Path) -> Option<u64> {
    let machine = read(root, "proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    // The control group's own path, and that which is seen inside a container, where it is the
    // root.
    let group = read(root, "proc/self/cgroup").unwrap_or_default();
    let own = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let mut limits = Vec::from_iter(machine);
    let mut folder = Some(Path::new(own));
    while let Some(at) = folder {
        let file = Path::new("sys/fs/cgroup").join(at).join("memory.max");
        limits.extend(number(root, &file));
        folder = at.parent();
    }
    limits.extend(number(root, Path::new("sys/fs/cgroup/memory/memory.limit_in_bytes")));
    limits.into_iter().min()
}

fn number(root: &Path, file: &Path) -> Option<u64> {
    read(root, file)?.trim().parse().ok()
}

fn read(root: &Path, file: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(root.join(file)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_connections_are_refused_before_large_messages() {
        let memory = Memory::new(1000);
        assert_eq!(memory.note(899), None);
        assert_eq!((memory.is_scarce(), memory.is_exhausted()), (false, false));
        assert_eq!(memory.note(900), Some(MemoryLeft::Little));
        assert_eq!(memory.note(950), None);
        assert_eq!((memory.is_scarce(), memory.is_exhausted()), (true, false));
        assert_eq!(memory.note(1000), Some(MemoryLeft::Nothing));
        assert_eq!((memory.is_scarce(), memory.is_exhausted()), (true, true));
        assert_eq!(memory.note(10), Some(MemoryLeft::Enough));
        assert_eq!(memory.used_bytes(), 10);
    }

    #[test]
    fn what_the_container_may_have_counts_if_it_is_less() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        assert_eq!(available(root.path()), None);
        write("proc/meminfo", "MemTotal:       24000000 kB\nMemFree: 1 kB\n");
        assert_eq!(available(root.path()), Some(24_000_000 * 1024));
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        write("sys/fs/cgroup/a/memory.max", "1073741824\n");
        assert_eq!(available(root.path()), Some(1 << 30));
        write("sys/fs/cgroup/memory.max", "1000\n");
        assert_eq!(available(root.path()), Some(1000));
    }

    #[test]
    fn there_is_some_unless_told_otherwise() {
        assert!(Memory::new(0).max_bytes() > 1 << 20);
    }
}
