#!/bin/sh
# Builds the program with what a run of it has shown of its own paths (profile-guided
# optimisation): two builds and half a minute of load on loopback. The program is
# target/pgo/millrace. Needs `rustup component add llvm-tools`. What it is called with goes
# to cargo, as `--features millrace/bench-native`.
set -eu
cd "$(dirname "$0")/../.."

triple=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$triple/bin/llvm-profdata
[ -x "$profdata" ] || { echo "llvm-profdata is missing: rustup component add llvm-tools" >&2; exit 1; }
folder=$PWD/target/pgo
mkdir -p "$folder"
cargo build --release --locked -p millrace -p millrace-bench

build() {
    flags=$1 in=$folder/$2
    shift 2
    # With --target, build scripts and macros are left as they are.
    RUSTFLAGS=$flags CARGO_TARGET_DIR=$in \
        cargo build --release --locked -p millrace --target "$triple" "$@"
}

rm -rf "$folder/profiles"
build "-Cprofile-generate=$folder/profiles" instrumented "$@"
"$folder/instrumented/$triple/release/millrace" serve tests/apps/probe --listen 127.0.0.1:0 > "$folder/serve.log" &
pid=$!
trap 'kill "$pid" 2> /dev/null || true' EXIT
address=
for _ in $(seq 600); do
    address=$(sed -n 's|.*http://\([0-9.:]*\).*|\1|p' "$folder/serve.log" | head -n 1)
    [ -n "$address" ] && break
    sleep 0.1
done
[ -n "$address" ] || { echo "the server did not start: see $folder/serve.log" >&2; exit 1; }
for load in "echo --in-flight 1" "echo --in-flight 16" "fanout" "churn"; do
    # shellcheck disable=SC2086 # words of a command line
    target/release/millrace-bench load --address "$address" --pid "$pid" $load --seconds 4
done
# It writes its profile when it ends.
kill "$pid"
wait "$pid" || true
trap - EXIT
"$profdata" merge -o "$folder/merged.profdata" "$folder/profiles"
build "-Cprofile-use=$folder/merged.profdata -Cllvm-args=-pgo-warn-missing-function=false" optimised "$@"
cp "$folder/optimised/$triple/release/millrace" "$folder/millrace"
echo "built $folder/millrace"
