# Two commands on a fresh machine (Python 3.11 or newer, and make): `make demo` and `make test`.
# Everything they install goes into .venv and .venv-engines here.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINES := $(abspath .venv-engines)
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test check unit engines bench peers golden clean

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.complete ## install everything but the real engines into .venv

$(VENV)/.complete: pyproject.toml
	@echo "==> setting up $(VENV) (a minute or so, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pennytrace needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --editable '.[all,demo]' --group dev
	@touch $@

demo: setup ## a simulated shop, priced: report, Grafana files, all within a minute (KEEP=1 leaves it running)
	@$(BIN)/pennytrace demo --out demo-output $(if $(KEEP),--keep)

test: check unit engines ## every check and every test

check: setup ## format, lint, types, architecture
	@echo "==> ruff, mypy, import-linter"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: setup ## all tests but those that need the real engines
	@echo "==> tests"
	@$(PYTEST) -m 'not engines and not gpu' --numprocesses=2 --dist=loadfile

engines: setup ## real vLLM on the CPU, where its CPU builds can be had (REQUIRE_ENGINES=1: or fail)
	@echo "==> real engines (a virtual environment of their own; 3.5 GB and some minutes, once)"
	@export PENNYTRACE_ENGINES=$(ENGINES) PYTHON=$(abspath $(BIN))/python; bash tests/engines/install.sh; status=$$?; \
	if [ $$status -eq 0 ]; then $(PYTEST) -m engines tests/integration; \
	elif [ $$status -eq 3 ] && [ "$(REQUIRE_ENGINES)" != 1 ]; then echo "==> skipped: the tests with real engines (see above)"; \
	else echo "==> the real engines could not be installed"; exit 1; fi

bench: setup ## measure the figures that the README states
	@$(BIN)/python tests/benchmarks/app_side.py
	@$(BIN)/python tests/benchmarks/collector.py
	@$(BIN)/python -m tests.benchmarks.prices

peers: setup ## compare what pennytrace costs an app with its peers (PEERS="--rounds 40": quicker; docs/reference/benchmarks.md)
	@$(BIN)/python tests/benchmarks/peers.py $(PEERS)

golden: setup ## rewrite the golden files; review the difference
	@UPDATE_GOLDEN=1 $(PYTEST) tests/dashboards tests/docs -q

clean: ## remove what the above has made
	rm -rf $(VENV) $(ENGINES) demo-output
