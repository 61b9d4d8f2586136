# Two commands: `make demo` shows what Unshaken does, `make test` checks that it does it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint types clean

demo: $(READY)
	$(BIN)/unshaken run demo

test: $(READY) lint types
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist worksteal --durations=20 \
		--cov --cov-report=term:skip-covered  # one thread for each of as many processes as there are cores

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# torch first and alone: a CPU build that is already at hand is kept, and nothing pulls in another one
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv runs .mypy_cache .pytest_cache .ruff_cache .coverage
