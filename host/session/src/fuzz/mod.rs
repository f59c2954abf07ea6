//! Properties that hold for any input, as functions of bytes that panic when one does not hold.
//! In `tests/fuzz`, libFuzzer looks for bytes that make them panic.

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
