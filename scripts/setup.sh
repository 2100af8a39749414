#!/usr/bin/env bash
# Installs what is missing for a target of the Makefile, says what and why, and changes nothing else.
#
#   scripts/setup.sh demo|test|bench|mutants
#
# For Debian and Ubuntu. Where nothing is missing, nothing is written and nothing is fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# What apt prints names the hosts it talks to, which are nobody's business in a build log.
without_urls() { sed -E 's#[a-z+]+://[^ ]+#(address)#g; s#^(Get|Hit|Ign|Err):.*##; /^$/d'; }

packages=()
want() { # PACKAGE REASON
    packages+=("$1")
    say "$1 is missing: $2"
}

need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    if ! have cargo || ! have rustc; then
        die "Rust $wanted or newer is needed, but cargo or rustc is not in PATH; install it from https://rustup.rs"
    fi
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" != "$wanted" ]; then
        if have rustup; then
            die "Rust $wanted or newer is needed, found $found; run: rustup update stable && rustup default stable"
        fi
        die "Rust $wanted or newer is needed, found $found; install a newer one, such as from https://rustup.rs"
    fi
}

compiles_c() {
    local out status=0
    have cc || return 1
    out=$(mktemp)
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c -o "$out" - 2>/dev/null || status=1
    rm -f "$out"
    return $status
}

trusts_somebody() {
    [ -n "${SSL_CERT_FILE:-}${CARGO_HTTP_CAINFO:-}" ] || [ -s /etc/ssl/certs/ca-certificates.crt ] ||
        [ -s /etc/pki/tls/certs/ca-bundle.crt ]
}

need_for_build() {
    need_rust
    if ! compiles_c; then
        want gcc "it compiles SQLite and libdeflate, which are in the program, and links it"
        want libc6-dev "the C library's headers, for the same"
    fi
    trusts_somebody || want ca-certificates "cargo fetches the libraries over https"
    have git || want git "Gristmill fetches with it, and the tests make repositories with it"
}

need_for_git_tests() {
    have openssl || want openssl "the tests sign messages of Amazon SNS with it, by the older of its two ways"
    have ssh || want openssh-client "the tests fetch over ssh"
    if ! have sshd && [ ! -x /usr/sbin/sshd ]; then
        # Its package starts a server for everybody, which nobody asked for.
        if [ -d /run/systemd/system ]; then
            say "openssh-server is missing: tests of git over ssh will be skipped. Its package also starts a server on port 22; install it yourself if that is welcome"
        else
            want openssh-server "the tests start its sshd on the loopback and fetch from it"
        fi
    fi
}

install_packages() {
    [ ${#packages[@]} -gt 0 ] || return 0
    local apt=()
    have apt-get || die "there is no apt-get here; install these by other means: ${packages[*]}"
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "this needs root; as root, run: apt-get install --no-install-recommends ${packages[*]}"
        apt=(sudo)
        [ -t 0 ] || apt=(sudo -n)
    fi
    log=$(mktemp) # not local: it goes away with the script
    trap 'rm -f "$log"' EXIT
    say "installing by apt: ${packages[*]}"
    apt+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${packages[@]}"; } \
        >"$log" 2>&1 </dev/null; then
        without_urls <"$log" | tail -n 20 >&2
        die "apt could not install them; install these yourself, then try again: ${packages[*]}"
    fi
}

need_cargo_tool() { # COMMAND PACKAGE REASON
    have "$1" && return 0
    say "$2 is missing: $3; installing it with cargo, which takes some minutes"
    cargo install --locked "$2"
}

case "${1:-}" in
    demo)
        need_for_build
        install_packages
        ;;
    test)
        need_for_build
        have python3 || want python3 "its zipfile module reads the archives that the tests write"
        need_for_git_tests
        install_packages
        ;;
    bench)
        need_for_build
        have webhook || want webhook "the program that accepting deliveries is compared with"
        have strace || want strace "it shows that a delivery is synced before it is answered"
        have setpriv || want util-linux "its setpriv ends servers together with the benchmark"
        install_packages
        ;;
    mutants)
        need_for_build
        have python3 || want python3 "the tests that are run on each mutant need it"
        need_for_git_tests
        install_packages
        need_cargo_tool cargo-mutants cargo-mutants "it changes the code and looks whether a test fails"
        ;;
    *)
        die "usage: scripts/setup.sh demo|test|bench|mutants"
        ;;
esac
