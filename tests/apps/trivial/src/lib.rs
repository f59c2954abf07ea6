//! A worker that does almost nothing, to measure what the rest costs.

use millrace_plugin::prelude::*;

struct Trivial;

impl Worker for Trivial {
    fn handle(event: &Event<'_>, _: &mut Effects) -> Result<Verdict> {
        match event.payload.first() {
            Some(_) => Ok(Verdict::Done),
            None => Ok(Verdict::Drop("it is empty".to_owned())),
        }
    }
}

millrace_plugin::export_worker!(Trivial);
