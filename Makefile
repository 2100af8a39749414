# `make` alone shows what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where rustup puts cargo, also for shells that were started before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Benchmarks to run; all there are, where none is named.
BENCHES ?=
# Histories that the simulator runs in `make soak`.
SIM_SEEDS ?= 1000000
# Crates whose code is changed by `make mutants`.
MUTANTS ?= model archive forge db

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: ## from a git push to a published, verified archive, on this machine; ends by itself
	@scripts/setup.sh demo
	cargo run --release --locked -p gristmill -- demo --once

.PHONY: demo-serve
demo-serve: ## the same, and goes on serving what it made until Ctrl-C
	@scripts/setup.sh demo
	cargo run --release --locked -p gristmill -- demo

.PHONY: test
test: ## format, lints and all tests; ends with totals and with what was skipped and why
	@scripts/setup.sh test
	@scripts/test.sh

.PHONY: bench
bench: ## benchmarks beside what a user would pick instead; BENCHES="accept start" for some, STRICT=1 to fail
	@scripts/setup.sh bench
	@scripts/bench.sh $(BENCHES)

.PHONY: soak
soak: ## 1 000 deliveries and 300 kills, with and without power loss; failing buckets; then the simulator for hours (SIM_SEEDS)
	@scripts/setup.sh test
	@SIM_SEEDS=$(SIM_SEEDS) scripts/soak.sh

.PHONY: mutants
mutants: ## changes the code and looks whether a test fails, for hours; MUTANTS="model db" for some crates
	@scripts/setup.sh mutants
	@scripts/mutants.sh $(MUTANTS)

.PHONY: lint
lint: ## format and lints only
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: fmt
fmt: ## formats the code
	cargo fmt --all
