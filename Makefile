# Targets: demo, serve, test, lint, bench, dashboards, lock. Options go in ARGS: make demo ARGS="--requests 6000"

SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# torch comes in two builds. Its CPU build (requirements-cpu.lock) is taken where pip's configuration
# offers it, for example as a folder of wheels. Else the index's build is, which on Linux imports only
# with several gigabytes of GPU libraries beside it (requirements-cuda.lock). --no-deps: the locks
# list everything, and torch's own requirements would fetch those libraries for the CPU build too.
# --no-compile: half of the time would go to modules that are never imported. The others are compiled
# when they first are, for all processes to come.
PIP_INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-compile

unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo serve test lint bench dashboards lock

demo: $(INSTALLED)
	@$(BIN)/protege demo $(ARGS)

serve: $(INSTALLED)
	@$(BIN)/protege serve $(ARGS)

# Threads that wait for each other take the processor from the servers under test. Two files at once:
# much of the time a test waits. Not those with the most tests first: files with few take the longest.
test: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(INSTALLED)
	@$(BIN)/python -m bench.gateway $(ARGS)

# Writes config/dashboards/generated/ from the Python beside it.
dashboards: $(INSTALLED)
	@$(BIN)/python -m config.dashboards

$(INSTALLED): requirements.lock requirements-cpu.lock requirements-cuda.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Protege needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'; exit 1; }
	@echo 'Installing into .venv (a minute or more) ...'
	@$(PYTHON) -m venv --clear .venv
	@$(PIP_INSTALL) --require-hashes -r requirements-cpu.lock 2>/dev/null || true
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(BIN)/python -c 'import torch' 2>/dev/null || \
		$(PIP_INSTALL) --require-hashes -r requirements-cuda.lock
	@$(PIP_INSTALL) --no-build-isolation -e .
	@touch $@

# The newest versions that pyproject.toml admits. awk moves the GPU libraries into their own file.
COMPILE = $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header \
	--no-annotate

lock: $(INSTALLED)
	$(COMPILE) --universal --extra dev pyproject.toml | awk ' \
		/^[^ ]/ { file = /^(cuda|nvidia|triton)/ ? "requirements-cuda.lock" : "requirements.lock" } \
		{ print > file }'
	$(COMPILE) bench/requirements.in -o bench/requirements.lock
