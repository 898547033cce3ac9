# Two commands do everything on a fresh machine: `make demo` runs the main job, `make test` passes the tests.
# Each installs what it needs; a cold first call builds a Kubernetes node from source, which takes 10 to 20 minutes.

VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
PYTEST := $(PYTHON) -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test check e2e sim chaos bench generate format cluster cluster-down clean

help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use

demo: $(STAMP) ## From nothing to a finished order pipeline on a real cluster
	$(PYTHON) -m tests.demo

cluster: $(STAMP) ## A Kubernetes cluster: KUBECONFIG if set, else kind, else a node of our own
	$(PYTHON) -m tests.cluster up

cluster-down: $(STAMP) ## Remove that cluster, leaving nothing behind
	$(PYTHON) -m tests.cluster down

##@ Develop

check: $(STAMP) ## The fast loop: format, lint, types, layers, unit tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(PYTHON) -m tests.generate --check
	$(PYTEST) -q tests/core tests/shell tests/peers tests/docs tests/lint tests/graph tests/sdk

format: $(STAMP) ## Format and fix what can be fixed
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

generate: $(STAMP) ## Write the CRDs, the chart's copies and the reference from the types
	$(PYTHON) -m tests.generate

##@ Test

test: check ## Everything: check, simulator, chart, cluster, examples and operator on a real cluster
	$(PYTEST) tests/sim tests/cli tests/local tests/conformance tests/chart tests/examples tests/cluster tests/e2e tests/chaos tests/bench

sim: $(STAMP) ## The simulator for MINUTES (default 2)
	$(PYTHON) -m tests.sim run --minutes $(or $(MINUTES),2)

chaos: $(STAMP) ## Faults on a real node of its own, judged from its history (MINUTES for longer)
	$(PYTHON) -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES))

e2e: $(STAMP) ## The operator on a real cluster only
	$(PYTEST) tests/e2e

bench: $(STAMP) ## Speed and cost beside the same Pods created bare
	$(PYTHON) -m tests.bench

clean: ## Remove what make made here (not the cache)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

$(STAMP): pyproject.toml requirements/dev.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
