# Every target sets up what it needs: `make demo` works in a clean clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all chaos check lint lint-fix docs bench openapi lock licences pictures release clean models

help: ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## Install the locked environment and the zkml command into .venv

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "zkml-prover needs Python 3.11 or newer; set PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: install ## An end-to-end demo: serve, upload, prove, verify, tamper
	$(BIN)/zkml demo

test: install lint ## All checks except the long ones; required for every change
	$(BIN)/python -m pytest -m "not long"

test-all: install lint docs ## All checks, with ten times the random examples; CI runs this
	ZKML_TEST_THOROUGH=1 $(BIN)/python -m pytest

chaos: install ## Inject random faults for a long time, and check that no job is lost
	ZKML_CHAOS_JOBS=300 ZKML_CHAOS_WORKERS=3 ZKML_CHAOS_EXAMPLES=2000 ZKML_CHAOS_RESTARTS=50 $(BIN)/python -m pytest -s tests/chaos

check: install lint ## The fast checks
	$(BIN)/python -m pytest -n $$($(BIN)/python -c 'import os; print(min(4, os.cpu_count() + 1))') --dist loadfile -m "not slow and not long"

lint: install ## Formatting, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-fix: install ## Apply the linters' automatic fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

models: install build/frameworks/.installed ## Make the corpus of models, prove it, run ONNX's node tests (docs/models.md)
	KERAS_BACKEND=torch build/frameworks/bin/python -W ignore -m benchmarks.corpus build/models/corpus
	ZKML_HOME=build/models/home ZKML_PLAN_EFFORT=fast $(BIN)/python -W ignore -m benchmarks.prove_folder build/models/corpus -o benchmarks/results/corpus --minutes 1.5 $(ARGS)
	$(BIN)/python -m benchmarks.report.models_page benchmarks/results/corpus
	$(BIN)/python -W ignore -m benchmarks.node_tests -o build/models

build/frameworks/.installed: benchmarks/corpus/requirements.txt
	$(PYTHON) -m venv build/frameworks
	build/frameworks/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench: install ## Measure against EZKL's default flow (see docs/benchmarks.md)
	$(BIN)/zkml bench $(ARGS)

docs: install ## Build the documentation as a site into build/site, with every link checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

pictures: install ## Draw the documentation's pictures from their sources
	$(BIN)/python docs/pictures/draw.py

licences: install ## List the licence of every dependency in docs/licences.md
	$(BIN)/python .ci/licences.py

release: install ## Build wheel and sdist into dist/ and try the wheel in a fresh environment
	.ci/release $(VERSION)

openapi: install ## Write docs/openapi.json and api/examples.json from the routes and docs/http.md
	$(BIN)/python -m tests.unit.make_openapi

lock: ## Lock the dependencies again (needs uv)
	uv pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --extra dev pyproject.toml -o requirements.lock

clean: ## Remove all build outputs and .venv
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
