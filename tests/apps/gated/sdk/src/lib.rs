//! `millrace-plugin` with a gate in place of sleep. The apps beside this package are made of
//! the sources of `tests/apps`, and of this in place of `millrace-plugin`: where an app would
//! sleep, it waits until the test opens the gate that its configuration names.

pub use millrace_plugin::*;

/// What most plugins use.
pub mod prelude {
    pub use crate::clock;
    pub use millrace_plugin::prelude::*;
}

/// Time, of which only the test says when it has passed.
pub mod clock {
    use std::time::Duration;

    pub use millrace_plugin::host::clock::{monotonic_ns, now_ms};

    /// Waits until the gate is open, however long `duration` is; zero returns at once.
    ///
    /// # Panics
    /// If the gate cannot be asked.
    pub fn sleep(duration: Duration) {
        if duration.is_zero() {
            return;
        }
        let gate = millrace_plugin::host::config::get("gate").expect("config.gate is a URL");
        millrace_plugin::http::get(gate).send().expect("the gate answers");
    }
}
