# make help says what there is. Every target that needs the virtual environment sets it up first.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench docs lock clean

PYTHON_BIN := .venv/bin/python
# Without sudo the command itself says that it needs root.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,$(shell command -v sudo))
BENCH ?= $(sort $(wildcard bench/*.py))
ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## OS packages that are missing, .venv, the suanwang command
	@scripts/setup

demo: setup ## a whole network with real routers on this machine (ARGS="--keep", ARGS=chinanet)
	@$(AS_ROOT) .venv/bin/suanwang demo $(ARGS)

test: setup ## all tests; those that need root say so when skipped (ARGS="tests/vpc -k port")
	@$(PYTHON_BIN) -m pytest $(ARGS)

lint: setup ## style, types, and the floors between rooms
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

format: setup ## let ruff write what it can
	@.venv/bin/ruff check --fix-only
	@.venv/bin/ruff format

bench: setup ## the numbers, asked and measured side by side (BENCH=bench/control.py ARGS=…)
	@set -e; for bench in $(BENCH); do echo "== $$bench"; $(AS_ROOT) $(PYTHON_BIN) $$bench $(ARGS); done

docs: setup ## the generated pages: kinds, errors, commands, metrics, settings
	@$(PYTHON_BIN) scripts/generate_docs.py

lock: ## the locks anew from pyproject.toml (ARGS=--upgrade)
	@scripts/lock $(ARGS)

clean: ## all that can be made again, .venv too
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
