# `make` prints this help. Everything installs itself: Python 3.11 or newer, a C compiler and a package registry are enough.
.DEFAULT_GOAL := help

VENV ?= .venv
# constraints.txt: any machine (small CPU wheel where the index offers one). constraints-cuda.txt: an NVIDIA GPU.
CONSTRAINTS ?= constraints.txt
# Corpus for `make demo`: empty means that the demo makes a small synthetic one itself.
CORPUS ?=
DEMO_TO ?= demo-out
# Files in the order of their paths: those with long tests come first, so that no core waits for the last one.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(notdir $(CONSTRAINTS))
SOURCES := src tests benchmarks
# One thread each, and compiled Python is kept: hundreds of test processes would compile all of it again.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: help install demo test check bench snapshot format clean

help: ## print this help
	@echo "Orature: from transcribed speech to a measured, usable speech recogniser."
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F@ '{printf "%-16s %s\n", $$1, $$2}'
	@echo
	@echo "  With an NVIDIA GPU: make install CONSTRAINTS=constraints-cuda.txt"

install: $(STAMP) ## make the virtual environment .venv and install Orature with all that the tests need

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { \
		echo "Orature needs Python 3.11 or newer; here is only: $$(python3 --version 2>&1)." >&2; \
		echo "next: install a newer Python, then 'make install PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Orature needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "next: 'make install PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@echo "installing into $(VENV) (a minute or two; PyTorch is the large part) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[dev]'
	@touch $@

demo: install ## train, score and use a recogniser on a small corpus (CORPUS=folder: on that one)
	$(BIN)/orature demo $(if $(CORPUS),--corpus '$(CORPUS)') --to '$(DEMO_TO)$(if $(CORPUS),/$(notdir $(patsubst %/,%,$(CORPUS))))'

test: install ## run all tests (real-speech ones where ORATURE_CORPORA is at hand)
	$(PYTEST)

check: install ## style, types, import contracts and the fast tests
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(PYTEST) -m 'not slow'

bench: install ## run the benchmarks that take minutes and print each comparison
	@for script in benchmarks/*/run.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

snapshot: install ## rewrite the checked-in lists of public names and command-line options
	$(BIN)/python tests/ratchets/surface.py

format: install ## let ruff format and fix what it can
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean: ## remove the virtual environment, caches and the demo's output
	rm -rf $(VENV) demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
