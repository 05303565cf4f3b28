# `make` alone lists what there is. Everything is set up by itself: Debian's packages (as root), .venv, node_modules.
.DEFAULT_GOAL := help
.PHONY: help setup lint format test demo synth agent bench-agent bench-spill chaos-agent lock clean
SHELL := /bin/bash
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20
export JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION := 20

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready node_modules/.ready  ## install what is missing: Debian's packages, .venv, node_modules
	@scripts/packages

.venv/.ready: requirements-dev.txt
	@scripts/packages
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

node_modules/.ready: package-lock.json .venv/.ready
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

lint: .venv/.ready  ## ruff, mypy --strict and the import rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: .venv/.ready  ## let ruff put the code into its form
	ruff check --fix .
	ruff format .

test: setup  ## set everything up and run all tests (root: they make network namespaces)
	pytest $(ARGS)

demo: setup  ## set everything up and show the whole house on this machine (root); PAUSE=1 stops at the spike's end, PICTURE=FILE.svg draws the run there
	$(BIN)/python -m demo $(if $(PAUSE),--pause) $(if $(PICTURE),--picture $(PICTURE)) $(ARGS)

synth: setup  ## write the CloudFormation templates to cdk.out
	node_modules/.bin/cdk synth --quiet --no-notices $(ARGS)

agent: .venv/.ready  ## build the core's one file, .build/agent.pyz
	$(BIN)/python -m core_agent.build .build/agent.pyz

# Each bench is given the arguments that are not the other's alone: --quick, --rounds=N, --changes=N.
bench-agent: setup  ## measure the agent beside bare commands and beside its peers (root); ARGS=--quick for a first look
	$(BIN)/python -m benches.agent $(filter-out --changes=%,$(ARGS))
	$(BIN)/python -m benches.fleet_changes $(filter-out --rounds=%,$(ARGS))

bench-spill: setup  ## measure what users see of a spike, beside the snippet and two more (root, 12 min); ARGS=--quick for less
	$(BIN)/python -m benches.spill $(ARGS)

chaos-agent: setup  ## try to confuse the agent, for minutes (real parts as root); ARGS="--seed N" takes the same walks again
	$(BIN)/python -m tests.chaos $(ARGS)

lock: .venv/.ready  ## renew the locked requirements and package-lock.json from what they are made of
	for name in lambdas/requirements requirements requirements-dev; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; done
	npm install --package-lock-only --no-audit --no-fund

clean:  ## remove what was built here; leaves Debian's packages
	rm -rf .venv .build node_modules cdk.out .demo .mypy_cache .ruff_cache .hypothesis .import_linter_cache
