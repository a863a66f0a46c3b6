#!/bin/sh
# Finds a Python that is new enough and prints its path; says in one line what to install when Python or Rust is missing
# or too old. Used by the Makefile only.
minimum_rust=1.90
fail() { echo "headwater needs $1" >&2; exit 1; }

python=""
for name in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
  if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$name; break; fi
done
found=$(python3 --version 2>/dev/null)
[ -n "$python" ] || fail "Python 3.11 or newer, found ${found:-none}; install it from your package manager or python.org"
"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || fail "the venv module of $("$python" --version); on Debian and Ubuntu: apt install python3-venv"

command -v cargo >/dev/null 2>&1 || fail "Rust $minimum_rust or newer, found none; install it with rustup (rustup.rs)"
found=$(rustc --version 2>/dev/null | cut -d' ' -f2)
[ -n "$found" ] || fail "the Rust toolchain of rust-toolchain.toml; install it with: rustup toolchain install"
printf '%s\n%s\n' "$minimum_rust" "$found" | sort -V -C || fail "Rust $minimum_rust or newer, found $found; update it with: rustup update"
command -v "$python"
