#!/usr/bin/env bash
# The long campaigns: 1 000 deliveries and 300 kills, with and without the loss of what was not synced; 500 publications
# through servers of S3 of which one call in ten fails, and one that is gone for ten minutes under 20 deliveries a second;
# databases of which a byte is another one; and then the simulator with many more histories than `make test` does.
#
# SIM_SEEDS says how many histories; GRISTMILL_SOAK_SEED chooses other kills.
set -euo pipefail
cd "$(dirname "$0")/.."

export SIM_SEEDS=${SIM_SEEDS:-1000000}
log=$(mktemp)
# Where a test writes that it could not do its work.
GRISTMILL_SKIPS=$(mktemp)
export GRISTMILL_SKIPS
trap 'rm -f "$log" "$GRISTMILL_SKIPS"' EXIT

# soak TESTS CARGO_ARGUMENT …: runs them, and fails where none was found.
soak() {
    local tests=$1
    shift
    cargo test --locked "$@" 2>&1 </dev/null | tee "$log"
    grep -qE '^test result: ok\. [1-9]' "$log" || { echo "soak: no test of $tests was run" >&2; exit 1; }
    [ ! -s "$GRISTMILL_SKIPS" ] || { echo "soak: $tests cannot be run here:" >&2; cat "$GRISTMILL_SKIPS" >&2; exit 1; }
}

GRISTMILL_SOAK=1 soak "the campaigns" --workspace --test e2e campaign:: -- --nocapture --test-threads 1
GRISTMILL_SOAK=1 soak "the storage's campaigns" --workspace --test conformance campaign:: -- --nocapture --test-threads 1
GRISTMILL_SOAK=1 soak "the campaigns over a bucket" --workspace --test e2e bucket_faults:: -- --nocapture --test-threads 1
FLIPS=${FLIPS:-20000} soak "damaged databases" --workspace --test db flips -- --nocapture
soak "the simulator" --workspace --release --test sim -- --nocapture
