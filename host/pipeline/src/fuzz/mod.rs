//! Functions for fuzzing: each takes any bytes, and panics when a property does not hold. In
//! `tests/fuzz` libFuzzer looks for bytes that make one panic.

mod dispatcher;
mod ingest;

pub use dispatcher::dispatcher;
pub use ingest::ingest;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_pass() {
        millrace_choices::try_seeds("dispatcher", dispatcher);
        millrace_choices::try_seeds("ingest", ingest);
    }

    proptest! {
        #[test]
        fn any_bytes_pass(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            dispatcher(&bytes);
            ingest(&bytes);
        }
    }
}
