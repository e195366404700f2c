# Few words, each does one obvious thing. `make install` is part of every other one.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Where this is set, each process compiles its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo up check test test-faults bench docs lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

# The stamp's content is the lock it was installed from, so a changed lock installs again and an unchanged one costs nothing.
$(VENV)/installed: locks/runtime.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Notifier needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Say which to use: make PYTHON=python3.12 …")'
	@echo "Installing Notifier into $(VENV) (once; about a minute) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/runtime.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: locks/dev.txt $(VENV)/installed
	@echo "Installing the tools of development into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@touch $@

install: $(VENV)/installed ## make the virtual environment in .venv

install-dev: $(VENV)/installed-dev

# The process is told who started it, and ends when make is killed.
demo: install ## the whole pipeline on this machine's own data, about a minute; leaves nothing behind
	@exec $(BIN)/notifier demo --with-parent $$PPID

up: install ## everything, until Ctrl-C
	@exec $(BIN)/notifier up --with-parent $$PPID

check: install-dev ## formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: install-dev ## the tests, on a real Kafka broker that they start
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-faults: install-dev ## routers, delivery workers, broker, topics and definitions disturbed under load; the long version, half an hour
	@mkdir -p var
	FAULTS=long $(BIN)/python -m pytest tests/streams/test_faults.py tests/streams/delivery/test_killed_workers.py -s --basetemp var/faults

bench: install-dev ## the benchmarks
	$(BIN)/python -m bench

docs: install-dev ## build the documentation into site/
	$(BIN)/python docs/reference.py
	$(BIN)/mkdocs build --strict

lock: install-dev ## resolve the dependencies again, into locks/
	$(BIN)/uv pip compile pyproject.toml --extra build --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --quiet -o locks/runtime.txt
	$(BIN)/uv pip compile pyproject.toml --extra build --extra dev --extra docs --constraint locks/runtime.txt --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --quiet -o locks/dev.txt

clean: ## remove what was installed and built
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
