# Every target sets up what it needs: `make demo` works in a clean clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint lint-fix bench lock clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## Put the locked environment and the zkml command into .venv

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "zkml-prover needs Python 3.11 or newer; set PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: install ## Do the main job once, for real: serve, upload, prove, verify, tamper
	$(BIN)/python -m benchmarks.demo

test: install lint ## Every check: lint, types, arrows, unit, integration and acceptance tests
	$(BIN)/python -m pytest

check: install lint ## The fast part of the checks (under 2 minutes)
	$(BIN)/python -m pytest -m "not slow"

lint: install ## Format, lint, types and the arrows between packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-fix: install ## Repair what the linters can repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## Measure against EZKL's default flow (see docs/benchmarks.md)
	$(BIN)/zkml bench $(ARGS)

lock: ## Lock the dependencies anew (needs uv)
	uv pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --extra dev pyproject.toml -o requirements.lock

clean: ## Remove what was built (keeps nothing of .venv)
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
