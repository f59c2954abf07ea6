//! The memory that an instance begins with, read from the file before anything is made of it.

use wasmparser::{Parser, Payload};

use super::{LoadError, PluginLimits};

/// The size of a memory's pages as a power of two (64 KiB), unless the memory says another.
const PAGE_BYTES_LOG2: u32 = 16;

/// Refuses a component whose instances would begin with more memory than they may have.
pub(super) fn check(wasm: &[u8], limits: &PluginLimits) -> Result<(), LoadError> {
    let (needed, allowed) = (largest_memory(wasm).unwrap_or_default(), limits.max_memory_bytes);
    match needed > allowed as u64 {
        true => Err(LoadError::Memory { needed, allowed }),
        false => Ok(()),
    }
}

/// The bytes that the largest of its memories begins with. `None` if the file cannot be read; the
/// compiler says more about that.
fn largest_memory(wasm: &[u8]) -> Option<u64> {
    let mut largest = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::MemorySection(memories) = payload.ok()? else { continue };
        for memory in memories {
            let memory = memory.ok()?;
            let page_bytes = 1 << memory.page_size_log2.unwrap_or(PAGE_BYTES_LOG2).min(16);
            largest = largest.max(memory.initial.saturating_mul(page_bytes));
        }
    }
    Some(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_component_begins_with_has_to_be_allowed() {
        let wasm = wat::parse_str(
            "(component (core module $a (memory 2)) (component (core module (memory 5 9)))
                (core instance (instantiate $a)))",
        )
        .unwrap();
        assert_eq!(largest_memory(&wasm), Some(5 << 16));
        let within = |max_memory_bytes: usize| {
            check(&wasm, &PluginLimits { max_memory_bytes, ..Default::default() })
        };
        assert!(within(5 << 16).is_ok());
        let error = within((5 << 16) - 1).unwrap_err().to_string();
        let expected = "begins with 327680 bytes of memory, allowed are 327679; raise \
                        limits.max_memory_bytes";
        assert_eq!(error, expected);
        assert_eq!(largest_memory(b"\0asm and what is none"), None);
    }
}
