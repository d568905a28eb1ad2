# Everything a maintainer types. Plain `make` lists the targets; CI runs the same ones (.ci/run).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
ARGS ?=
# docker, podman or buildah.
DOCKER ?= docker
IMAGE ?= crm-relay:latest

.DEFAULT_GOAL := help
.PHONY: help dev build release setup test fmt lint docs tidy bless bless-pictures sim canaries torture chaos soak dashboard-soak torture-redis fuzz bench bench-verify cost redis-memory bench-redis deny audit dist deb deb-drill stranger stranger-deb docker image-drill up down check clean

help: ## list the targets
	@echo 'usage: make TARGET [NAME=value]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

bless-pictures: setup ## take the pictures of docs/dashboard anew; look at them before you commit
	BLESS=1 $(CARGO) test --locked --package relay-dashboard --test pages browser::pictures -- --nocapture

sim: ## simulate one server, and several on one store: SEEDS=n of each (more than 1000: built for speed); WORLD=one|several; SEED=k replays
	SEEDS='$(SEEDS)' SEED='$(SEED)' WORLD='$(WORLD)' $(CARGO) test --locked --package relay-store --test sim \
	    $$([[ '$(SEEDS)' =~ ^[0-9]+$$ && '$(SEEDS)' -gt 1000 ]] && echo --profile sim || true)

canaries: ## plant each known bug in turn; fails unless the simulation (SEEDS=n), or the store's tests, find them all
	SEEDS='$(SEEDS)' CANARIES='$(CANARIES)' scripts/canaries

torture: setup ## kill -9 server and clients under load, KILLS=n times
	KILLS='$(KILLS)' $(CARGO) test --locked --package crm-relay --test e2e torture:: -- --nocapture

chaos: setup ## everything at once for SECONDS=60, in the order of SEED=n: kill -9, stopped processes, parted networks, a full disk, set clocks, failing targets
	CHAOS_SECONDS='$(or $(SECONDS),60)' SEED='$(or $(SEED),$(shell echo $$RANDOM))' $(CARGO) test --locked --package crm-relay --test e2e chaos::nothing -- --nocapture

soak: setup ## RATE=200 webhooks a second for SECONDS=600: fails unless memory, open files, answers and what waits stay flat
	SOAK_SECONDS='$(or $(SECONDS),600)' RATE='$(or $(RATE),200)' $(CARGO) test --locked --package crm-relay --test e2e soak::a_constant -- --ignored --nocapture

dashboard-soak: setup ## a page that is left open for SECONDS=600 while RATE=500 webhooks a second come: fails unless memory, elements and rows stay flat
	SOAK_SECONDS='$(or $(SECONDS),600)' RATE='$(or $(RATE),500)' $(CARGO) test --locked --package crm-relay --test e2e dashboard::a_page_that_is -- --ignored --nocapture

torture-redis: setup ## ROUNDS=n faults under load (SEED=n: in another order) on SET=several (servers on one Redis; first one is without it for GONE=60 s at RATE=200 webhooks a second) SET=sentinel (failovers) or SET=cluster (failovers, and slots that move)
	@if [[ '$(or $(SET),several)' = several ]]; then GONE='$(or $(GONE),60)' RATE='$(or $(RATE),200)' $(CARGO) test --locked --package crm-relay --test e2e_redis gone::a_redis_that_is_gone -- --nocapture; fi
	ROUNDS='$(ROUNDS)' SEED='$(SEED)' $(CARGO) test --locked --package crm-relay --test e2e_redis $(or $(SET),several)_torture:: -- --nocapture --test-threads=1

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

bench-redis: setup ## measure the store on a Redis beside `redis-benchmark -c 64 XADD` on the same: ROUNDS pairs of EVENTS
	$(CARGO) bench --locked --package relay-store --bench redis
	ROWS=redis ROUNDS=$${ROUNDS:-5} $(CARGO) bench --locked --package crm-relay --bench main_job

deny: ## check licences, sources and duplicate crates (needs cargo-deny)
	$(CARGO) deny --locked check bans licenses sources

audit: ## check the crates for known weaknesses (needs cargo-deny, and fetches the list of RustSec)
	$(CARGO) deny --locked check advisories

dist: ## what is handed out, below target/dist: program, manual pages, completions, SBOM, digests (PROGRAM=path takes one that is built)
	@scripts/dist $(PROGRAM)

deb: ## the Debian package, below target/dist (PROGRAM=path takes one that is built)
	@scripts/deb $(PROGRAM)

deb-drill: deb ## install, start, remove and purge the package in a fresh Debian (as root, minutes; needs debootstrap)
	@scripts/deb-drill $$(ls -t $${CARGO_TARGET_DIR:-target}/dist/*.deb | head -n 1)

stranger: build ## go from nothing to the first webhook through a firewall with a proxy (as root, a second; network namespaces)
	@scripts/stranger $${CARGO_TARGET_DIR:-target}/debug/crm-relay

stranger-deb: deb ## go by the pages alone from apt-get install to the first webhook through a firewall, in two fresh Debians (as root, minutes; needs debootstrap)
	@scripts/stranger-deb $$(ls -t $${CARGO_TARGET_DIR:-target}/dist/*.deb | head -n 1)

docker: ## build the image: IMAGE=crm-relay:latest, by DOCKER=docker (podman, buildah), over RUST_IMAGE=name of a mirror
	$(DOCKER) build --tag '$(IMAGE)' --build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" \
	    --build-arg REVISION="$$(git rev-parse HEAD)" $(if $(RUST_IMAGE),--build-arg RUST_IMAGE='$(RUST_IMAGE)') .

image-drill: ## build the image without a container engine, of a PROGRAM that is built, and start it (as root; needs buildah, debootstrap)
	@scripts/image-drill $(or $(PROGRAM),target/debug/crm-relay)

up: docker ## run server, client and a receiver in containers (compose.yaml); a token is made into .env if there is none
	@grep -qs '^RELAY_TOKEN=' .env || (umask 077; echo "RELAY_TOKEN=crt_$$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >>.env)
	$(DOCKER) compose up --detach
	@$(DOCKER) compose exec server /bin/crm-relay health

down: ## stop them; what they stored stays in its volume
	$(DOCKER) compose down

check: ## what CI runs
	@.ci/run

clean: ## remove what was built and the data of `make dev`
	$(CARGO) clean
	rm -rf crm-relay-dev
