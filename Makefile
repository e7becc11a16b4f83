# Everything runs in .venv, which is created with the versions in constraints.txt.
# PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-real test-crash test-faults check bench docs conformance lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Set up, then create, change, break, repair and destroy a chain of four tools
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/demo/demo.sh

test: $(VENV)/.test ## Set up, then run the tests
	@$(BIN)/python -m pytest -q -n 2 -m "not long" --ignore=tests/real

test-long: $(VENV)/.check ## Long tests: every kill point, 500 random histories, 10,000 random schedules, five planted bugs, CI commands
	@DTM_CRASH_STEP=1 DTM_CRASH_MOMENTS=100 DTM_EXAMPLES=500 DTM_SCHEDULES=10000 DTM_GROUP_RECORDS=1000 \
	$(BIN)/python -m pytest -q -s --timeout=1800 tests/promises/crash tests/promises/test_properties.py tests/promises/test_model.py \
	tests/engine/log/test_group_commit.py
	@$(BIN)/python -m pytest -q -n 2 -m long
	@$(BIN)/python -m tests.promises.planted

check: $(VENV)/.check ## Check format, lint, types, import contracts, prose, generated files, docs, wheel
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/prose.py
	$(BIN)/python docs/generate.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	sh tests/wheel_smoke.sh $(BIN)/python

bench: $(VENV)/.test ## Print figures, and ratios against terraform where it is on the PATH
	@$(BIN)/python -m tests.bench.bench $(BENCH)
	@$(BIN)/python -m tests.bench.shared
	@$(BIN)/python -m tests.bench.distance

docs: $(VENV)/.check ## Write the generated pages and build the site into site/
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test-real: $(VENV)/.test ## Test contracts, crashes, faults and locks on real Ceph RGW, DynamoDB Local, Kubernetes and terraform
	@$(BIN)/python -m tests.servers $(REAL)

test-crash: $(VENV)/.test ## Kill a run at every step, and at 100 random moments, on every real store
	@DTM_CRASH_STEP=1 DTM_CRASH_MOMENTS=100 $(BIN)/python -m tests.servers $(REAL) -- \
	$(BIN)/python -m pytest -q -s --timeout=3600 tests/real/test_crash.py

test-faults: $(VENV)/.test ## Test two users over a failing network, 200 seeds on every real store; DTM_FAULT_SEED=N replays one
	@DTM_FAULT_SEEDS=200 $(BIN)/python -m tests.servers $(REAL) -- \
	$(BIN)/python -m pytest -q -s --timeout=7200 tests/real/test_faults.py

conformance: $(VENV)/.test ## Run the contract suites on the real servers and write the results into the docs
	@$(BIN)/python -m tests.servers --write

lock: ## Write the current versions of all dependencies to constraints.txt
	@tmp=$$(mktemp -d) && $(PYTHON) -m venv $$tmp && $$tmp/bin/pip install -q -e '.[test,check]' \
	&& $$tmp/bin/pip freeze --exclude-editable > constraints.txt && rm -rf $$tmp

clean: ## Remove all generated files
	rm -rf $(VENV) site dist .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "dtm needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(PIP) install -c constraints.txt -e .
	@$(BIN)/python -m compileall -q dtm engine backends providers -x templates && touch $@

$(VENV)/.test: $(VENV)/.run
	@$(PIP) install -c constraints.txt -e '.[test]' && touch $@

$(VENV)/.check: $(VENV)/.test
	@$(PIP) install -c constraints.txt -e '.[test,check]' && touch $@
