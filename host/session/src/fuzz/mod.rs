//! What holds whatever comes in. The functions panic when something does not hold.
//! `tests/fuzz` has libFuzzer look for bytes that make them.

mod session;
mod wire;

pub use session::session;
pub use wire::wire;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_pass() {
        millrace_choices::try_seeds("session", session);
        millrace_choices::try_seeds("wire", wire);
    }

    proptest! {
        #[test]
        fn any_bytes_pass(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            session(&bytes);
            wire(&bytes);
        }
    }
}
