#!/usr/bin/env bash
# Hours of a server's life in one: clients that behave beside those who do not, while
# versions are exchanged. Takes seconds (1800), prints what the server had before and
# after, and fails when anything is left, lost or doubled. On loopback alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release -p millrace -p millrace-bench
bin=${CARGO_TARGET_DIR:-target}/release
RUST_LOG=${RUST_LOG:-error} "$bin/millrace-bench" compare --rounds 1 \
    --server "millrace=$bin/millrace serve tests/bench/soak --listen 127.0.0.1:0" \
    soak --seconds "${1:-1800}"
