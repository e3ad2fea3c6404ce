# `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 pyproject.toml \
	--upgrade --custom-compile-command "make lock"
PYTEST := $(BIN)/python -m pytest
# Files in parallel: most tests wait for servers and processes. One file stays in one process, in its order; the files
# come in the order of tests/conftest.py.
PARALLEL := -n 4 --dist loadfile --no-loadscope-reorder
# Compiled once, tests start quicker, and so does every `mailadmin` that they start.
unexport PYTHONDONTWRITEBYTECODE
# What `make test` runs on SQLite and `make test-postgresql` on PostgreSQL; the rest asks for both by itself.
ON_BOTH := tests/people tests/mailbox tests/providers tests/console tests/accounts tests/wizard tests/test_web.py \
	tests/sync/test_routes.py tests/connections/test_routes.py
.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-postgresql check audit bench format lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/installed ## Install what is needed into .venv, then start everything (ARGS="--port 9000")
	@exec $(BIN)/mailadmin up $(ARGS)

test: .venv/installed-dev ## Install the test servers, then run all tests but the slow ones (ARGS="tests/sync -x")
	@tests/install.sh
	@$(PYTEST) $(PARALLEL) $(ARGS)

test-slow: test-postgresql ## Run the tests that take long by nature, and the pages on PostgreSQL
	@$(PYTEST) $(PARALLEL) -m slow $(ARGS)

test-postgresql: .venv/installed-dev
	@tests/install.sh
	@TEST_DATABASE=postgresql $(PYTEST) $(PARALLEL) $(ON_BOTH)

check: .venv/installed-dev ## Lint, check the format, the types and the floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: .venv/installed-dev ## Look the locked packages up among known vulnerabilities (asks the internet)
	@$(BIN)/python .ci/audit.py

bench: .venv/installed-dev ## Measure the speed
	@$(BIN)/python -m bench $(ARGS)
	@$(BIN)/python -m bench.checks
	@$(BIN)/python -m bench.accounts

format: .venv/installed-dev ## Format the code and mend what can be mended by itself
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: .venv/installed-dev ## Choose the newest versions that pyproject.toml allows and write both lock files
	$(COMPILE) --extra install -o requirements.txt
	$(COMPILE) --extra install --extra dev -c requirements.txt -o requirements-dev.txt

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "mailadmin needs Python 3.11 or newer, and there is no $(PYTHON) here. On Debian: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mailadmin needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Install a newer one and name it: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make virtual environments. On Debian and Ubuntu install the package python3-venv: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/installed: requirements.txt pyproject.toml | .venv/bin/python
	@echo "Installing into .venv; this takes a minute the first time."
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@echo "Installing the developers' tools into .venv."
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@
