# The two commands of the README. Each does all its own set-up: Python 3.11 and make are enough.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo quick test lint check wheel-check bench results docs clean

demo: $(READY)
	$(BIN)/soilcast demo --out demo

quick: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "not slow" $(PYTEST_ARGS)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

wheel-check: $(READY)
	$(BIN)/python -m tools.wheel_check $(WHEEL_TESTS)

bench: $(READY)
	$(BIN)/python -m benchmarks

results: $(READY)
	$(BIN)/python -m tools.results

# Runs the notebooks too; then open build/docs/index.html. The pages ask nothing of the network.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	$(BIN)/python -m sphinx --builder html --jobs auto --fail-on-warning --keep-going --fresh-env --quiet \
		--doctree-dir build/doctrees docs build/docs

$(READY): pyproject.toml constraints.txt $(wildcard src/soilcast/models/native/*.cpp src/soilcast/models/native/*.h)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test,lint]"
	touch $(READY)

clean:
	rm -rf $(VENV) demo build .pytest_cache .mypy_cache .ruff_cache .hypothesis
