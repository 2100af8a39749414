#!/usr/bin/env bash
# Mutation testing: changes the code in small ways and looks whether a test fails. Hours, not minutes.
#
#   scripts/mutants.sh [CRATE …]       model archive forge db, where none is named
#
# Ends with the share that was caught, by crate, and the list of those that survived. Exit code 1 below
# MUTANTS_MIN per cent. Arguments for cargo mutants itself go into MUTANTS_ARGS, such as "--shard 0/8".
set -euo pipefail
cd "$(dirname "$0")/.."

crates=("$@")
[ ${#crates[@]} -gt 0 ] || crates=(model archive forge db)
min=${MUTANTS_MIN:-85}
folder=${CARGO_TARGET_DIR:-target}/mutants
mkdir -p "$folder"

packages=()
for crate in "${crates[@]}"; do
    packages+=(--package "gristmill-$crate")
done
status=0
# shellcheck disable=SC2086 # several arguments
cargo mutants "${packages[@]}" --output "$folder" ${MUTANTS_ARGS:-} </dev/null || status=$?
# 2: some survived, 3: some ran into the time limit. Both are counted below. Anything else is no result.
[ "$status" = 0 ] || [ "$status" = 2 ] || [ "$status" = 3 ] || exit "$status"

results=$folder/mutants.out
count() { grep -c "^crates/$2/" "$results/$1.txt" || true; }
poor=0
printf '\n%-10s %7s %7s %8s %6s\n' crate caught missed "timed out" share
for crate in "${crates[@]}"; do
    caught=$(count caught "$crate")
    missed=$(count missed "$crate")
    timeout=$(count timeout "$crate")
    all=$((caught + missed + timeout))
    [ "$all" -gt 0 ] || { echo "$crate: no mutants"; continue; }
    # A mutant that never ends is noticed, too.
    share=$((100 * (caught + timeout) / all))
    printf '%-10s %7s %7s %8s %5s%%\n' "$crate" "$caught" "$missed" "$timeout" "$share"
    [ "$share" -ge "$min" ] || poor=1
done
printf '\nsurvived:\n'
cat "$results/missed.txt"
exit "$poor"
