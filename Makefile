# What a contributor types. `make` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:

BIN := .venv/bin
TESTS := tests checkers/porcupine-py/tests

# The first Python on the PATH; tools/setup.py looks on when it is too old.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell command -v $(name))))
UV ?= uv

# Passed on as they are: make demo DEMO_ARGS="--short", make pytest PYTEST_ARGS="-k lease"
DEMO_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=

# $(call step,command): says what runs, how it ended and how long it took.
define step
@printf '\n== %s\n' '$(1)'; \
SECONDS=0; status=0; $(1) || status=$$?; \
if [ $$status = 0 ]; then printf '== passed in %d s\n' $$SECONDS; \
else printf '== FAILED with exit status %d after %d s: %s\n' $$status $$SECONDS '$(1)'; fi; \
exit $$status
endef

.PHONY: help
help: ## list the targets
	@printf 'make TARGET, where TARGET is one of\n'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: setup
setup: ## make .venv and toxiproxy-server; quick when nothing changed
	@[ -n "$(PYTHON)" ] || { echo 'setup: FAILED: asked for Python 3.11 or newer; found none on the PATH; install one, or name it: make setup PYTHON=/path/to/python3' >&2; exit 1; }
	@"$(PYTHON)" tools/setup.py

.PHONY: demo
demo: setup ## a cluster, faults, a seeded bug and its report (DEMO_ARGS)
	@$(BIN)/driftline demo $(DEMO_ARGS)

.PHONY: test
test: lint pytest ## everything that must hold before a change goes in

.PHONY: lint
lint: setup ## format, style, types, and who imports whom
	$(call step,$(BIN)/ruff format --check .)
	$(call step,$(BIN)/ruff check .)
	$(call step,$(BIN)/mypy)
	$(call step,$(BIN)/lint-imports)

.PHONY: pytest
pytest: setup ## the tests alone (PYTEST_ARGS)
	@! [ -e checkers/porcupine-py/tests/__init__.py ] || { echo 'checkers/porcupine-py/tests/__init__.py: remove it. With it both test folders are packages named tests, and pytest would run the tests of one in place of the other'"'"'s.' >&2; exit 1; }
	@$(BIN)/python tools/lanes.py $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: setup ## the long property tests, marked fuzz (PYTEST_ARGS)
	$(call step,$(BIN)/pytest $(TESTS) -m fuzz $(PYTEST_ARGS))

.PHONY: soak
soak: setup ## the long runs, marked soak (PYTEST_ARGS)
	$(call step,$(BIN)/pytest $(TESTS) -m soak $(PYTEST_ARGS))

.PHONY: wheels
wheels: setup ## build porcupine-py's wheels, with and without cargo, and try them
	@$(BIN)/python tools/wheels.py

.PHONY: bench
bench: setup ## measure, and print the figures (BENCH_ARGS)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: format
format: setup ## let ruff put the code in order
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: lock
lock: ## write the lock files anew from requirements*.in (needs uv on the PATH)
	@for name in requirements requirements-go; do \
	  $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header $$name.in -o $$name.lock; \
	done

.PHONY: clean
clean: ## remove .venv and what tools left behind; runs/ stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@rm -rf checkers/porcupine-py/build checkers/porcupine-py/dist
	@find . -name .git -prune -o -name runs -prune -o \
	  \( -name __pycache__ -o -name '*.egg-info' \) -type d -prune -exec rm -rf {} +
