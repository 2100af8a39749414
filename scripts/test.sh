#!/usr/bin/env bash
# Everything that must hold before a change is taken: format, lints, tests. Ends with totals, and with what
# was skipped and why. Exit code 0 only where nothing failed.
#
#   scripts/test.sh [ARGUMENT of cargo test …]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${CARGO_TARGET_DIR:-target}
mkdir -p "$folder"
log=$folder/test.log
# Tests write here what they leave out: see crates/testkit/src/skip.rs.
GRISTMILL_SKIPS=$(cd "$folder" && pwd)/test-skips.log
export GRISTMILL_SKIPS
: >"$GRISTMILL_SKIPS"
failed=()

step() { printf '\n== %s\n' "$*"; }
skipped() { printf 'SKIPPED: %s\n' "$*" >>"$GRISTMILL_SKIPS"; }

# Shows what cargo and the tests say, without a line for each test that passes and without what those print.
only_news() {
    awk '
        /^successes:$/ { hidden = 1 }
        /^failures:$/ || /^test result:/ { hidden = 0 }
        /^test .* \.\.\. ok$/ || /^running [0-9]+ tests?$/ || /^$/ || hidden { next }
        { print; fflush() }
    '
}

step format
if cargo fmt --version >/dev/null 2>&1; then
    cargo fmt --all --check || failed+=(format)
else
    skipped "format: rustfmt is not installed (rustup component add rustfmt)"
fi

step lints
if cargo clippy --version >/dev/null 2>&1; then
    cargo clippy --locked --workspace --all-targets --quiet -- -D warnings || failed+=(lints)
else
    skipped "lints: clippy is not installed (rustup component add clippy)"
fi

step tests
# Most tests of the whole program wait for it rather than compute.
RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
export RUST_TEST_THREADS
# --show-output: what passing tests print goes into the log too.
status=0
cargo test --locked --workspace --no-fail-fast "$@" -- --show-output 2>&1 </dev/null | tee "$log" | only_news ||
    status=$?
[ "$status" = 0 ] || failed+=(tests)

read -r programs passed broken < <(awk '
    /^test result:/ { programs++; passed += $4; broken += $6 }
    END { print programs + 0, passed + 0, broken + 0 }
' "$log")
# A run in which nothing ran has shown nothing.
[ "$passed" -gt 0 ] || [ "$status" != 0 ] || failed+=("tests (none ran)")

skips=$({ cat "$GRISTMILL_SKIPS"; grep -ihE '^skipped: ' "$log" || true; } | sort -u)
step totals
[ -z "$skips" ] || printf '%s\n' "$skips"
printf '%s tests passed, %s failed, in %s programs; %s skipped\n' \
    "$passed" "$broken" "$programs" "$(printf '%s' "$skips" | grep -c . || true)"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s (the whole output of the tests: %s)\n' "${failed[*]}" "$log"
    exit 1
fi
echo ok
