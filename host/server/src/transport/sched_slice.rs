//! The scheduler's time slice of a thread: how long it runs while others want its core.
//!
//! A connection stays on its thread. When that thread has to wait for another one that computes,
//! the connection waits too, as Linux gives each about 3 ms in turn. A thread can ask for shorter
//! slices, which come sooner and more often, and are as long in total (`sched_setattr(2)`, since
//! Linux 6.12).

/// Asks for slices of 0.1 ms, the shortest there are, for the calling thread. Where that is not
/// possible, nothing changes.
#[cfg(target_os = "linux")]
pub(super) fn ask_for_short_slices() {
    let result = linux::attributes().and_then(|attributes| {
        // Whoever runs the server under another scheduling policy has chosen it.
        let is_normal = i64::from(attributes.sched_policy) == i64::from(libc::SCHED_OTHER);
        if !is_normal {
            return Ok(());
        }
        linux::set(&libc::sched_attr { sched_runtime: linux::SLICE_NS, ..attributes })
    });
    if let Err(error) = result {
        tracing::debug!(%error, "this thread keeps the time slices it has");
    }
}

/// Does nothing: other systems have no such setting.
#[cfg(not(target_os = "linux"))]
pub(super) fn ask_for_short_slices() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    pub(super) const SLICE_NS: u64 = 100_000;

    /// The size of [`libc::sched_attr`], which is that of its first version in Linux.
    #[expect(clippy::cast_possible_truncation, reason = "some fifty bytes")]
    const SIZE: u32 = size_of::<libc::sched_attr>() as u32;

    /// Reads the scheduling attributes of the calling thread.
    #[expect(unsafe_code, reason = "no library has this system call")]
    pub(super) fn attributes() -> io::Result<libc::sched_attr> {
        let mut attributes = libc::sched_attr {
            size: SIZE,
            sched_policy: 0,
            sched_flags: 0,
            sched_nice: 0,
            sched_priority: 0,
            sched_runtime: 0,
            sched_deadline: 0,
            sched_period: 0,
        };
        let (calling_thread, flags) = (0, 0);
        // SAFETY: the kernel writes no more than `SIZE` bytes, which are there.
        let result = unsafe {
            libc::syscall(libc::SYS_sched_getattr, calling_thread, &raw mut attributes, SIZE, flags)
        };
        if result == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
    }

    /// Sets the scheduling attributes of the calling thread.
    #[expect(unsafe_code, reason = "no library has this system call")]
    pub(super) fn set(attributes: &libc::sched_attr) -> io::Result<()> {
        let (calling_thread, flags) = (0, 0);
        // SAFETY: the kernel reads as many bytes as `size` says, which are there.
        let result = unsafe {
            libc::syscall(
                libc::SYS_sched_setattr,
                calling_thread,
                std::ptr::from_ref(attributes),
                flags,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_asks_gets_short_slices_and_no_other() {
        let before = linux::attributes().unwrap();
        let result = std::thread::spawn(|| {
            ask_for_short_slices();
            linux::attributes().unwrap()
        });
        let result = result.join().unwrap();
        assert_eq!(
            (result.sched_policy, result.sched_nice),
            (before.sched_policy, before.sched_nice)
        );
        // Linux before 6.12 has no slice for each thread, and reports 0 for all.
        if before.sched_runtime > 0 && before.sched_policy == 0 {
            assert_eq!(result.sched_runtime, linux::SLICE_NS);
        }
        assert_eq!(linux::attributes().unwrap().sched_runtime, before.sched_runtime);
    }
}
