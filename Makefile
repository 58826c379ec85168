# Everything runs in .venv, which these targets make themselves.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
QUICK = $(BIN)/python -m pytest -m "not long"

.PHONY: run install format check test test-long bench bench-viewer wheel clean

# The phantom slide, made, analyzed and shown: the quickest way to see what the program does.
run: $(VENV)/program
	packaging/check-system $(BIN)/python
	$(BIN)/idc-desktop demo

install: $(VENV)/installed

# The program alone; what trainer and tests need is ten times as much.
$(VENV)/program: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed: $(VENV)/program
	$(BIN)/python -m pip install --quiet --editable ".[test,trainer]"
	touch $@

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

test: install
	packaging/check-system $(BIN)/python
	@# Waiting times are of two free cores: what fails beside other work is tried once more, alone.
	@# A worker that dies ends the run (exit code 2), and nothing is tried again.
	$(QUICK) -n 2 --dist loadfile --max-worker-restart 0 || \
	    { test $$? -eq 1 && $(QUICK) --last-failed --last-failed-no-failures none; }

test-long: install
	$(BIN)/python -m pytest -m long --log-cli-level=INFO

bench: install
	$(BIN)/python -m tests.bench

bench-viewer: install
	packaging/check-system $(BIN)/python
	$(BIN)/python -m tests.bench.viewer
	$(BIN)/python -m tests.bench.slide_table

wheel: install
	packaging/check-wheel $(BIN)/python dist

clean:
	rm -rf $(VENV) build dist *.egg-info
