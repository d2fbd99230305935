# Every recipe that people and CI use. "make" alone lists them.
.DEFAULT_GOAL := help
.PHONY: help deps deps-lint deps-interop deps-fuzz build install demo demo-v2 up down psql test test-rust test-sql test-isolation test-interop test-dataplane bless faults fuzz bench bench-quick bench-writes lint layout advisories clean
SHELL := /bin/bash

# Which Postgres: the extension is built for it and installed into it, and private clusters run it.
export PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config
# How many proxies "make up" starts.
PROXIES ?= 2

# Which one test "make test-rust", "test-sql", "test-isolation" and "bless" run, and of which crate; empty: all.
T :=
P :=
ONE = $(if $(T),--only $(T)) $(if $(P),--package $(P))

# pgrx's home belongs to the project, so that nobody's ~/.pgrx is changed.
export PGRX_HOME := $(CURDIR)/.data/pgrx
# tests/deps puts cargo-pgrx here where the user has another version of it.
export PATH := $(CURDIR)/.data/tools/bin:$(PATH)
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
STAGE := $(TARGET)/stage
export TAILNET_PROXY_BIN := $(TARGET)/release/tailnet-proxy
export TAILNET_PEER_BIN := $(TARGET)/release/tailnet-peer
export TAILNET_SCALETEST_BIN := $(TARGET)/release/tailnet-scaletest
# pgN, the feature of the extension for this Postgres. Looked up when used: "make deps" may have to install it first.
PG = pg$(shell $(PG_CONFIG) --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
# CI must not build with other versions than Cargo.lock says.
LOCKED := $(if $(CI),--locked)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install the packages and tools that are missing
	@tests/deps

deps-lint:
	@tests/deps lint

deps-fuzz: deps
	@tests/deps fuzz

deps-interop: deps
	@tests/deps interop

build: deps ## Build the extension, the proxy and the test peer
	@echo "==> building the extension (about 2 minutes the first time)"
	@rm -rf $(STAGE)
	cargo pgrx package --package pg_tailnet --pg-config $(PG_CONFIG) --out-dir $(STAGE)
	@echo "==> building the proxy and the test peer (about 2 minutes the first time)"
	cargo build --release --workspace --exclude pg_tailnet $(LOCKED)

install: build ## Install the extension into Postgres
	@tests/install $(STAGE)

demo: install ## Two peers on two proxies talk over WireGuard; leaves nothing running
	@tests/demo

demo-v2: install deps-interop ## A client on the engine of real clients, and a peer that speaks JSON, talk over WireGuard
	@tests/demo-v2

up: install ## Start a private cluster and PROXIES=2 proxies, see .data/env; FRESH=1: with a new database
	@FRESH=$(FRESH) tests/stack up cluster .data $(PROXIES)
	@cat .data/env

down: ## Stop what "up" started; the data stays
	@tests/stack down cluster .data

psql: ## Open psql on the database that "up" made
	@tests/cluster exec cluster psql -d tailnet

test: install deps-interop ## Run every test
	@tests/run rust regress isolation faults
	@tests/go-test interop
	@tests/go-test dataplane

test-rust: install ## Run the unit and end-to-end tests; T=part_of_a_name P=crate
	@tests/run rust $(ONE)

test-sql: install ## Run the SQL tests (pg_regress); T=name
	@tests/run regress $(ONE)

test-isolation: install ## Run the races (pg_isolation_regress); T=name
	@tests/run isolation $(ONE)

test-interop: install deps-interop ## Run Go clients of tailnet v2 against two proxies; T=regular_expression
	@tests/go-test interop $(if $(T),-run '$(T)')

test-dataplane: install deps-interop ## Move bytes between the engines of real clients; T=regular_expression
	@tests/go-test dataplane $(if $(T),-run '$(T)')

bless: install ## Take what the SQL and isolation tests print as expected; T=name
	@tests/run bless $(ONE)

faults: install ## Inject faults while peers work; SEED=random ROUNDS=20 PEERS=200
	@SEED=$(SEED) ROUNDS=$(ROUNDS) PEERS=$(PEERS) FAULTS=$(FAULTS) WITHOUT=$(WITHOUT) tests/inject

fuzz: deps-fuzz ## Feed the decoders of tailnet v2 with bytes, each for SECONDS=15
	@tests/fuzz $(or $(SECONDS),15)

bench: install ## Measure the whole with 32,000 peers (15 minutes); see docs/performance.md
	@tests/bench-run peers

bench-quick: install ## The same with 4,000 peers, once (2 minutes); see .data/out
	@tests/bench-run peers --quick

bench-writes: install ## Measure the writes of liveness and of connection logs (12 minutes); see docs/performance.md
	@tests/bench-run writes

lint: deps-lint ## Check format, clippy, dependencies, layout and the shell scripts
	cargo fmt --all --check
	cargo fmt --manifest-path v2/fuzz/Cargo.toml --check
	cargo clippy --release --workspace --all-targets --no-default-features --features pg_tailnet/$(PG) $(LOCKED) -- -D warnings
	shellcheck -x --severity=warning tests/bench-run tests/cluster tests/demo tests/demo-v2 tests/demo-steps tests/deps tests/fuzz tests/inject tests/install tests/go-test tests/run tests/stack .ci/run
	cargo deny $(LOCKED) check bans licenses sources
	cargo shear --deny-warnings $(LOCKED)
	@$(MAKE) --no-print-directory layout

layout: ## Look for files in a circle, and for files that are too long
	cargo run --quiet --release --package tailnet-layout $(LOCKED)
	@git ls-files Makefile '*.rs' '*.sql' | xargs wc -l | awk '$$2 != "total" && $$1 > 400 { print $$2 " has " $$1 " lines; the limit is 400: split it"; bad = 1 } END { exit bad }'

advisories: deps-lint ## Look for known bugs of dependencies; fetches the list from github.com, so lint does not do it
	cargo deny $(LOCKED) check advisories

clean: ## Stop and remove everything that was made here: clusters, builds, .data
	@[ ! -d .data ] || tests/stack down cluster .data
	@for c in $$(tests/cluster list); do tests/cluster destroy $$c; done
	rm -rf .data
	cargo clean
