# Two commands do everything on a fresh machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# One thread a process: the work runs in as many processes as there are cores.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: setup demo test lint bench clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python %d.%d is too old; need 3.11 or newer: make PYTHON=python3.11" % sys.version_info[:2])'
	@test -e $@ || rm -rf .venv  # what an interrupted set-up left
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: setup
	rm -rf runs/demo
	$(BIN)/bimix-sweep demo --out runs/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Two processes, a file of tests at a time: tests that start Ray stay together, and come first.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

.venv/bench: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,bench]'
	@touch $@

bench: .venv/bench
	@test -n "$(NAME)" || { echo "name one: make bench NAME=x with x of:"; ls tests/benchmarks | sed -n 's/^bench_\(.*\)\.py/  \1/p'; exit 2; }
	@test -f "tests/benchmarks/bench_$(NAME).py" || { echo "there is no tests/benchmarks/bench_$(NAME).py"; exit 2; }
	$(BIN)/python -m "tests.benchmarks.bench_$(NAME)"

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache *.egg-info
