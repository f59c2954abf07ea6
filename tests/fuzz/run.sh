#!/usr/bin/env bash
# Has libFuzzer try each target for so many seconds (60), or those that are named:
#     tests/fuzz/run.sh [SECONDS [TARGET…]]
# What it finds interesting is kept below target/, what fails below tests/fuzz/artifacts:
#     tests/fuzz/run.sh 0 wire FILE… tries files alone
# Mended, such a file becomes a seed: `seeds` is tried by `cargo test` as well.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
targets=("$@")
[ $# -gt 0 ] || targets=(config dispatcher guest ingest session wire)

target=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target}/fuzz
# The dependencies are the workspace's, and libFuzzer.
cp ../../Cargo.lock Cargo.lock
RUSTC_WRAPPER=$PWD/rustc.sh cargo build --target "$target"
programs=$CARGO_TARGET_DIR/$target/debug

if [ "$seconds" = 0 ]; then
    exec "$programs/${targets[0]}" "${targets[@]:1}"
fi
failed=()
for name in "${targets[@]}"; do
    corpus=$CARGO_TARGET_DIR/corpus/$name
    mkdir -p "$corpus" "artifacts/$name"
    dictionary=()
    [ -e "dictionaries/$name" ] && dictionary=("-dict=dictionaries/$name")
    echo "fuzzing $name for $seconds s"
    "$programs/$name" "$corpus" "seeds/$name" "${dictionary[@]}" -max_total_time="$seconds" \
        -max_len=4096 -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
        -artifact_prefix="artifacts/$name/" 2>"$CARGO_TARGET_DIR/$name.log" ||
        { tail -40 "$CARGO_TARGET_DIR/$name.log"; failed+=("$name"); }
    grep -E "number_of_executed_units|peak_rss" "$CARGO_TARGET_DIR/$name.log" || true
done
echo "$((${#targets[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
