//! Compiling without running: the code is for an engine in another process, or at the next start.

use super::cache::{Cache, CacheConfig};
use super::{LoadError, check, engine};

/// Compiled code that an engine can load.
#[derive(Debug)]
pub struct Precompiled {
    /// The machine code, as wasmtime serializes it.
    pub code: Vec<u8>,
    engine: wasmtime::Engine,
}

/// Compiles the bytes of a `.wasm` file for an engine that reserves `reservation` bytes of address
/// space for each memory ([`super::Engine::reservation`]).
///
/// # Errors
///
/// [`LoadError::Mismatch`] if the file is no component for this interface, [`LoadError::Compile`]
/// if wasmtime cannot compile it.
pub fn precompile(wasm: &[u8], reservation: u64) -> Result<Precompiled, LoadError> {
    check::check(wasm).map_err(LoadError::Mismatch)?;
    let engine = engine::compiling_engine(reservation).map_err(LoadError::Compile)?;
    let code = engine.precompile_component(wasm).map_err(LoadError::Compile)?;
    Ok(Precompiled { code, engine })
}

impl Precompiled {
    /// Code that was compiled in another process, with the same `reservation` in bytes.
    ///
    /// # Errors
    ///
    /// [`LoadError::Compile`] if no engine can be made on this machine.
    pub fn of(code: Vec<u8>, reservation: u64) -> Result<Self, LoadError> {
        let engine = engine::compiling_engine(reservation).map_err(LoadError::Compile)?;
        Ok(Self { code, engine })
    }

    /// Writes the code to the cache, where servers of this user look for it; false if there is no
    /// cache, or it cannot be written.
    pub fn keep(&self, wasm: &[u8], cache: &CacheConfig) -> bool {
        let cache = Cache::open(cache, engine::fingerprint(&self.engine));
        cache.is_some_and(|cache| cache.put(wasm, &self.code))
    }
}
