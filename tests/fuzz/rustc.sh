#!/usr/bin/env bash
# Cargo's RUSTC_WRAPPER: what is of Millrace, and what reads text for it, is built to
# tell libFuzzer which branches it takes. Wasmtime and the rest are not, which is most
# of the time of a build and nothing that is looked for here. Needs no nightly compiler,
# as there is no sanitizer: unsafe code is denied.
set -euo pipefail
name=
target=
previous=
for argument in "$@"; do
    [ "$previous" = --crate-name ] && name=$argument
    # What runs in the compiler has none.
    [ "$previous" = --target ] && target=$argument
    previous=$argument
done
case "${target:+$name}" in
millrace | millrace_* | config | dispatcher | guest | ingest | session | wire | serde_json | toml | toml_parser | winnow)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
