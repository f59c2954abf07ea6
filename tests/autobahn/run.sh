#!/usr/bin/env bash
# The server's WebSocket code against the Autobahn suite: prints the verdicts, and
# fails when a case did. Cases 9 measure speed, 12 and 13 compression, which the server
# does not offer; 247 are left.
#
# The suite (autobahntestsuite) is written in Python 2. Where there is no Python 2.7 its
# cases are run by kosoku, a driver for Python 3 that brings the same case files. Where
# neither can be had this fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${CARGO_TARGET_DIR:-$PWD/target}/autobahn
mkdir -p "$tools"

python2() {
    local candidate
    for candidate in "${PYTHON2:-}" python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
        # A shim of pyenv is there without a Python behind it.
        if [ -n "$candidate" ] && "$candidate" -c 'import sys' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

install() {
    local python=$1 package=$2
    [ -e "$tools/$package.installed" ] && return
    PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check \
        --target "$tools/$package" "$package" && touch "$tools/$package.installed"
}

cargo build --workspace --example echo --locked
coproc ECHO { exec "${CARGO_TARGET_DIR:-target}/debug/examples/echo"; }
trap 'kill "$ECHO_PID" 2>/dev/null || true' EXIT
read -r url <&"${ECHO[0]}"
reports=$tools/reports
rm -rf "$reports"

python=$(python2)
if [ -n "$python" ] && install "$python" autobahntestsuite==25.10.1 2>"$tools/install.log"; then
    echo "autobahntestsuite 25.10.1 under $("$python" --version 2>&1)"
    cat >"$tools/spec.json" <<SPEC
{"outdir": "$reports", "servers": [{"agent": "millrace", "url": "$url"}],
 "cases": ["*"], "exclude-cases": ["9.*", "12.*", "13.*"], "exclude-agent-cases": {}}
SPEC
    # Its namespace packages are found by `site` alone.
    "$python" -c "
import site, sys
site.addsitedir('$tools/autobahntestsuite==25.10.1')
sys.argv = ['wstest', '-m', 'fuzzingclient', '-s', '$tools/spec.json']
from autobahntestsuite.wstest import run
run()" >"$tools/run.log" 2>&1 || { tail -30 "$tools/run.log"; exit 1; }
elif install python3 kosoku==0.1.0; then
    echo "kosoku 0.1.0, as there is no Python 2.7"
    PYTHONPATH="$tools/kosoku==0.1.0" python3 "$tools/kosoku==0.1.0/bin/kosoku" -m fuzzingclient -o "$reports" \
        -x '9.*' -x '12.*' -x '13.*' "${url#ws://}" >"$tools/run.log" 2>&1 ||
        { tail -30 "$tools/run.log"; exit 1; }
else
    echo "the Autobahn suite did not run: neither autobahntestsuite nor kosoku can be installed" >&2
    exit 1
fi
tests/autobahn/verdicts.py "$reports"
