# Two commands matter: `make demo` and `make test`. `make check` is what every commit passes.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test faults check install dev format clean
demo: install
	$(BIN)/edgeproof demo --out demo-out

test: dev
	$(BIN)/pytest

# At least 200 runs while 200 processes are killed, from a printed seed; `make faults SEED=7` draws alike.
faults: install
	$(BIN)/python -m edgeproof.testing.faults $(if $(SEED),--seed $(SEED))

check: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/unit tests/contract tests/property -m "not slow"

format: dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(VENV)/.installed
dev: $(VENV)/.dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]"
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]" --group dev
	touch $@

clean:
	rm -rf $(VENV) demo-out
