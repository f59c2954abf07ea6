//! What holds whatever comes in. The functions panic when something does not hold.
//! `tests/fuzz` has libFuzzer look for bytes that make them.

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
