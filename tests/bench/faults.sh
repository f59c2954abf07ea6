#!/usr/bin/env bash
# What slow, spinning, crashing and stalled neighbours cost, as tables. Takes
# about six minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release -p millrace -p millrace-bench
bin=${CARGO_TARGET_DIR:-target}/release
app="$bin/millrace serve tests/bench/neighbours --listen 127.0.0.1:0"
neighbours() {
    "$bin/millrace-bench" compare --rounds 3 --server "millrace=$app" neighbours "$@"
}
for others in spin crash ping; do
    echo "== 10 neighbours that $others"
    neighbours --others "$others"
done
echo "== one that stops reading 10,000 broadcasts a second, against one that reads them"
neighbours --others stall --count 1
echo "== 1,000 calls that wait on one connection"
"$bin/millrace-bench" compare --rounds 3 --server "millrace=$app" waiting
echo "== 10,000 calls that wait, on 10 connections"
app="$bin/millrace serve tests/bench/waiting --listen 127.0.0.1:0"
"$bin/millrace-bench" compare --rounds 1 --server "millrace=$app" \
    waiting --connections 10 --each 1000 --ms 5000
