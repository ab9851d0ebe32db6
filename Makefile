# The two commands of this project are `make run` and `make test`; the rest is for its developers.
# What each needs and the machine lacks is installed, or named, by scripts/need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test soak fuzz deny bench load fleet hostile differential fmt

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build Keyward and start the quickstart (ARGS="--listen 127.0.0.1:0 …" is passed on)
	@scripts/need cargo cc cmake
	cargo build --release --locked
	@exec $${CARGO_TARGET_DIR:-target}/release/keyward quickstart $(ARGS)

test: ## everything that CI runs
	@scripts/need cargo cc cmake curl postgres nextest
	@scripts/check

soak: ## the long versions of the tests: 1,000,000 checks against the model and CASL, more and longer kills
	@scripts/need cargo cc cmake postgres nextest
	KEYWARD_CHECKS=1000000 KEYWARD_KILLS=$${KEYWARD_KILLS:-200} \
	    cargo nextest run --release --locked --no-capture -E 'test(/authz_properties|casl|kill/)'

fuzz: ## the fuzz targets on nightly, one after another (SECONDS=600 each; TARGETS="request rules" for some)
	@scripts/need cargo cc cmake fuzz
	@scripts/fuzz $(or $(SECONDS),600) $(TARGETS)

deny: ## licences, sources and bans of dependencies (installs cargo-deny, which takes minutes to build)
	@scripts/need cargo deny
	cargo deny --locked check licenses sources bans

bench: ## criterion: hashing, look-up, route, authorise, whole decision
	@scripts/need cargo cc cmake
	cargo bench --profile dist --locked

load: ## requests a second and CPU a request beside a bare Pingora pass-through
	@scripts/need cargo cc cmake wrk nginx python3
	cargo build --profile dist --locked --bin keyward --example passthrough --example seed-keys
	benches/load/run.py --bin-dir $${CARGO_TARGET_DIR:-target}/dist $(ARGS)

fleet: ## what several gateways and control planes promise, measured (ARGS="revocation --smoke" …)
	@scripts/need cargo cc cmake python3 postgres nextest
	cargo build --profile dist --locked --bin keyward --example fleet-tool
	benches/fleet/run.py --bin-dir $${CARGO_TARGET_DIR:-target}/dist $(ARGS)

hostile: ## what floods, slow clients, refusals and attacks by HTTP/2 cost others, measured (ARGS="flood --smoke" …)
	@scripts/need cargo cc cmake python3 slowhttptest
	cargo build --profile dist --locked --bin keyward --example fleet-tool
	benches/hostile/run.py --bin-dir $${CARGO_TARGET_DIR:-target}/dist $(ARGS)

differential: ## mutated requests through Keyward to real servers: each sees what was judged (ARGS="node --count 1000" …)
	@scripts/need cargo cc cmake python3 nginx haproxy node
	cargo build --release --locked --bin keyward
	python3 -m venv $${CARGO_TARGET_DIR:-target}/differential
	$${CARGO_TARGET_DIR:-target}/differential/bin/pip install -q gunicorn uvicorn hypercorn aiohttp h11 httptools
	$${CARGO_TARGET_DIR:-target}/differential/bin/python benches/differential/run.py \
	    --bin-dir $${CARGO_TARGET_DIR:-target}/release $(ARGS)

fmt: ## format the source
	cargo fmt --all
