#!/usr/bin/env bash
# Builds the program and the benchmarks and runs them one after the other.
#
#   scripts/bench.sh [NAME …]      all that `gristmill-bench --help` lists, where none is named
#
# STRICT=1 makes a missed bar a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked -p gristmill -p gristmill-bench
folder=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/release
export GRISTMILL=$folder/gristmill
bench=$folder/gristmill-bench

names=("$@")
if [ ${#names[@]} = 0 ]; then
    mapfile -t names < <("$bench" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ && $1 != "help" { print $1 }')
fi
[ ${#names[@]} -gt 0 ] || { echo "bench: gristmill-bench lists no benchmark" >&2; exit 1; }

memory=()
# The server that assets are uploaded to has its data in memory: clients are measured, and no disk.
room=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1 || echo 0)
[ ! -w /dev/shm ] || [ "$room" -lt 2000000 ] || memory=(env TMPDIR=/dev/shm)

worst=0
run() {
    printf '\n== %s\n' "$*"
    local place=()
    [ "$1" != assets ] || place=("${memory[@]}")
    "${place[@]}" "$bench" "$@" </dev/null || { status=$?; [ "$status" -le "$worst" ] || worst=$status; }
}
strict=()
[ -z "${STRICT:-}" ] || strict=(--strict)
for name in "${names[@]}"; do
    run "$name" "${strict[@]}"
    # The same server once more, under strace: each answer after the sync it promises.
    [ "$name" != accept ] || run accept --trace "${strict[@]}"
done
exit "$worst"
