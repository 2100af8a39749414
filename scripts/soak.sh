#!/usr/bin/env bash
# Runs the simulator's tests with many more histories than `make test` does. SIM_SEEDS says how many.
set -euo pipefail
cd "$(dirname "$0")/.."

export SIM_SEEDS=${SIM_SEEDS:-1000000}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --release --locked -p gristmill --test sim -- --nocapture 2>&1 </dev/null | tee "$log"
if ! grep -qE '^test result: ok\. [1-9]' "$log"; then
    echo "soak: no test of the simulator was run" >&2
    exit 1
fi
