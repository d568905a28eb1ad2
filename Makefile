# Everything a maintainer types. Plain `make` lists the targets; CI runs the same ones (.ci/run).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help dev build release setup test fmt lint docs tidy bless sim canaries torture fuzz bench bench-verify cost redis-memory deny check clean

help: ## list the targets
	@echo 'usage: make TARGET [NAME=value]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: ## build and run server and client in one process (ARGS="--to 3000" forwards to port 3000)
	$(CARGO) run --locked --package crm-relay -- dev $(ARGS)

build: ## build the program for development: target/debug/crm-relay
	$(CARGO) build --locked --package crm-relay

# The program names no path of the machine that built it (Cargo's trim-paths will do this once it is stable).
release: cargo_home = $(or $(CARGO_HOME),$(HOME)/.cargo)
release: ## build the program for use: target/release/crm-relay
	RUSTFLAGS='$(RUSTFLAGS) --remap-path-prefix=$(cargo_home)=cargo --remap-path-prefix=$(CURDIR)=.' \
	    $(CARGO) build --locked --release --package crm-relay
	@scripts/nameless target/release/crm-relay '$(cargo_home)' '$(CURDIR)' '$(HOME)'

setup: ## install what the tests need, or say what is missing
	@scripts/setup

test: setup ## run all tests
	$(CARGO) test --workspace --locked

fmt: ## format the code
	$(CARGO) fmt --all

lint: ## check formatting and lints
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

docs: ## build the API documentation: target/doc
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --document-private-items

tidy: ## check the house rules alone: imports, file lengths, documents
	$(CARGO) test --locked --package crm-relay --test tidy

bless: ## write generated pages and snapshots anew; look at the difference before you commit
	BLESS=1 INSTA_UPDATE=always $(CARGO) test --locked --package crm-relay --lib --test reference --test cli

sim: ## simulate one server, and several on one store: SEEDS=n of each (more than 1000: built for speed); WORLD=one|several; SEED=k replays
	SEEDS='$(SEEDS)' SEED='$(SEED)' WORLD='$(WORLD)' $(CARGO) test --locked --package relay-store --test sim \
	    $$([[ '$(SEEDS)' =~ ^[0-9]+$$ && '$(SEEDS)' -gt 1000 ]] && echo --profile sim || true)

canaries: ## plant each known bug in turn; fails unless the simulation (SEEDS=n), or the store's tests, find them all
	SEEDS='$(SEEDS)' scripts/canaries

torture: setup ## kill -9 server and clients under load, KILLS=n times
	KILLS='$(KILLS)' $(CARGO) test --locked --package crm-relay --test e2e torture:: -- --nocapture

fuzz: ## fuzz TARGET=verify (ingress, signed, keys, parameters, wire, record) for SECONDS=60; `make test` replays the corpus
	@TARGET='$(TARGET)' FUZZ_SECONDS='$(SECONDS)' scripts/fuzz

bench: ## measure the main job beside a bare HTTP server: target/bench/main-job.json; then cost
	$(CARGO) bench --locked --package crm-relay --bench main_job
	@[[ -n "$${ROWS:-}" ]] || $(MAKE) --no-print-directory cost

bench-verify: ## measure one verification of 1 KiB and 1 MiB per provider (PROVIDERS=stripe,paypal for some)
	$(CARGO) bench --locked --package relay-providers --bench verify

cost: ## count the store's steps at a million stored events against a thousand (COST_EVENTS=n)
	COST_EVENTS=$${COST_EVENTS:-1000000} $(CARGO) test --locked --package relay-store --lib no_operation_costs

redis-memory: setup ## let a million events (EVENTS=n) pass through a Redis: it holds what it held before
	EVENTS=$${EVENTS:-1000000} $(CARGO) test --locked --release --package relay-store --test redis memory::

deny: ## check licences, sources and duplicate crates (needs cargo-deny)
	$(CARGO) deny --locked check bans licenses sources

check: ## what CI runs
	@.ci/run

clean: ## remove what was built and the data of `make dev`
	$(CARGO) clean
	rm -rf crm-relay-dev
