//! What holds whatever comes in: one function for each door that bytes of others come
//! through, each given any bytes. They panic when something does not hold.
//!
//! `tests/fuzz` has libFuzzer look for such bytes; the tests here try its seeds and some
//! at random, so that what was found once stays mended.

mod config;
mod ingest;
mod input;
mod session;
mod wire;

pub use crate::pipeline::fuzz::dispatcher;
pub use crate::wasm::fuzz::guest;
pub use config::config;
pub use ingest::ingest;
pub(crate) use input::Input;
pub use session::session;
pub use wire::wire;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    type Door = fn(&[u8]);

    const DOORS: [(&str, Door); 6] = [
        ("config", config),
        ("dispatcher", dispatcher),
        ("guest", guest),
        ("ingest", ingest),
        ("session", session),
        ("wire", wire),
    ];

    #[test]
    fn seeds_pass() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds");
        for (name, door) in DOORS {
            let mut tried = 0;
            for seed in std::fs::read_dir(seeds.join(name)).unwrap() {
                door(&std::fs::read(seed.unwrap().path()).unwrap());
                tried += 1;
            }
            assert!(tried > 0, "{name} has no seeds");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_pass(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            DOORS.iter().for_each(|(_, door)| door(&bytes));
        }
    }
}
