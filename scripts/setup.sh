#!/bin/sh
# Makes the machine ready for `make run`, `make eztable`, `make bench` or `make test`: as root on Debian it installs what is missing,
# elsewhere it names exactly that. Prints nothing where nothing is missing.
#
# Usage: scripts/setup.sh run|eztable|bench|test
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# The PostgreSQL server's programs: Debian keeps them off the PATH.
has_postgresql() {
    for initdb in "$(command -v initdb || true)" /usr/lib/postgresql/*/bin/initdb; do
        [ -x "$initdb" ] || continue
        # "initdb (PostgreSQL) 15.18 (Debian ...)"
        major=$("$initdb" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        [ "$major" -ge 15 ] && return 0
    done
    return 1
}

# The MariaDB server's program: Debian keeps it off the PATH of whoever is not root.
has_mariadb() {
    command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ]
}

# OpenSSH's server: Debian keeps it off the PATH of whoever is not root.
has_sshd() {
    command -v sshd >/dev/null || [ -x /usr/sbin/sshd ]
}

# Debian parts `venv` from Python.
has_venv() {
    python3 -c 'import ensurepip, venv' 2>/dev/null
}

packages=''
command -v cc >/dev/null || packages="$packages gcc libc6-dev"
command -v python3 >/dev/null || packages="$packages python3"
# What tests need of PyPI, in a virtual environment of its own: where UPDRAFT_TEST_PYTHON of .cargo/config.toml says.
python=target/test-python
requirements=tests/requirements.txt
case "${1:-}" in
run) ;;
eztable) has_venv || packages="$packages python3-venv" ;;
bench) has_postgresql || packages="$packages postgresql" ;;
test)
    command -v git >/dev/null || packages="$packages git"
    has_postgresql || packages="$packages postgresql"
    has_mariadb || packages="$packages mariadb-server"
    has_sshd || packages="$packages openssh-server"
    command -v openssl >/dev/null || packages="$packages openssl"
    has_venv || packages="$packages python3-venv"
    ;;
*)
    say 'usage: scripts/setup.sh run|eztable|bench|test'
    exit 2
    ;;
esac

if [ -n "$packages" ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing$packages"
        apt-get update --quiet
        # The word splitting is meant: one argument for each package.
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $packages
    else
        say "missing: Debian's packages$packages, or what your system calls them. On Debian:"
        say "  sudo apt-get update && sudo apt-get install --yes$packages"
        exit 1
    fi
fi

if ! command -v cargo >/dev/null; then
    say 'missing: Rust. Install it with rustup (https://rustup.rs), open a new shell, and try again.'
    exit 1
fi
if ! cargo --version >/dev/null; then
    say 'missing: the toolchain that rust-toolchain.toml names. Install it with: rustup toolchain install'
    exit 1
fi

if [ "$1" = test ] && ! cmp -s "$requirements" "$python/requirements.txt"; then
    say "installing what tests need of PyPI into $python"
    python3 -m venv --clear "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    # Written last: a broken installation is made anew.
    cp "$requirements" "$python/requirements.txt"
fi
