//! Compiling alone, for an engine that runs elsewhere: in another process, or at the next
//! start.

use super::cache::{Cache, CacheConfig};
use super::{LoadError, check, engine};

/// Code that an engine can load.
#[derive(Debug)]
pub struct Precompiled {
    /// The machine code, as wasmtime serializes it.
    pub code: Vec<u8>,
    engine: wasmtime::Engine,
}

/// Compiles the bytes of a `.wasm` file for an engine that reserves so much address space
/// for each memory ([`super::Engine::reservation`]).
pub fn precompile(wasm: &[u8], reservation: u64) -> Result<Precompiled, LoadError> {
    check::check(wasm).map_err(LoadError::Mismatch)?;
    let engine = engine::compiling_engine(reservation).map_err(LoadError::Compile)?;
    let code = engine.precompile_component(wasm).map_err(LoadError::Compile)?;
    Ok(Precompiled { code, engine })
}

impl Precompiled {
    /// Code that was compiled in another process for such an engine.
    pub fn of(code: Vec<u8>, reservation: u64) -> Result<Self, LoadError> {
        let engine = engine::compiling_engine(reservation).map_err(LoadError::Compile)?;
        Ok(Self { code, engine })
    }

    /// Keeps it where servers of this user look for it; false if there is no such place.
    pub fn keep(&self, wasm: &[u8], cache: &CacheConfig) -> bool {
        let cache = Cache::open(cache, engine::fingerprint(&self.engine));
        cache.is_some_and(|cache| cache.put(wasm, &self.code))
    }
}
