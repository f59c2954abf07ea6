//! The number of items that wait in all channels of the server.

use millrace_session::channel::WaitingCount;
use millrace_telemetry::Counter;

/// The gauge `channel.waiting`.
#[derive(Debug)]
pub(crate) struct Waiting(pub(crate) Counter);

impl WaitingCount for Waiting {
    fn add(&self, items: i64) {
        self.0.add(items);
    }
}
