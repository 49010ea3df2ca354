# Every target makes what it needs first: the virtual environment from the lock file, and as root Debian's servers.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test soak mutants lint fmt docs bench image clean packages

# Debian keeps haproxy in /usr/sbin, which is not on every user's PATH.
export PATH := $(PATH):/usr/sbin:/sbin
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := watchdog tests $(wildcard benchmarks)
# More words for the command behind `demo`, `bench` and pytest: make test ARGS="tests/core -x"
ARGS ?=
# Most tests wait for real servers: two for each processor, and no more than a small machine has memory for.
JOBS ?= $(shell jobs=$$((2 * $$(nproc 2>/dev/null || echo 1))); echo $$((jobs > 8 ? 8 : jobs)))

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## a bad deployment, seen and rolled back, in under a minute (ARGS=--prometheus, --json, --keep)
	@.ci/packages haproxy $(if $(findstring --prometheus,$(ARGS)),prometheus)
	$(BIN)/watchdog demo $(ARGS)

test: lint packages  ## everything that must hold: format, lint, types, import rules, tests on real servers
	@.ci/packages systemd podman buildah runc debootstrap
	@rm -f .pytest_cache/v/cache/lastfailed
	$(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=worksteal $(ARGS) $(if $(ARGS),,|| $(BIN)/python -m tests.again)

soak: $(READY) packages  ## the long runs behind the promises: thousands of deaths and schedules, their counts at the end
	$(BIN)/python -m pytest -m soak --numprocesses=$(JOBS) --dist=worksteal $(ARGS)

mutants: $(READY)  ## break the code on purpose and see which tests notice (hours; ARGS="--sample 60" for a part of it)
	@.ci/venv build/mutants/venv
	@build/mutants/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
		--require-hashes -r tests/mutants/requirements.lock
	build/mutants/venv/bin/python -m tests.mutants promises
	build/mutants/venv/bin/python -m tests.mutants core $(ARGS)

lint: $(READY)  ## format, lint, types and import rules, nothing changed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

fmt: $(READY)  ## write the format and the fixes that are safe
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(READY) packages  ## write into README and docs/ what the commands print and the tables say now
	$(BIN)/python -m tests.docs.rewrite

bench: $(READY) packages  ## how fast a bad version is switched away, beside Prometheus rules and Alertmanager
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.starting
	$(BIN)/python -m benchmarks.messages
	$(BIN)/python -m benchmarks.backtest

image:  ## the container image, with docker, podman or buildah, whichever is there
	@.ci/image rollback-watchdog

clean:  ## remove the virtual environment, caches and builds
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find watchdog tests $(wildcard benchmarks) -name __pycache__ -prune -exec rm -rf {} +

packages:
	@.ci/packages haproxy nginx postgresql prometheus prometheus-alertmanager chromium curl sqlite3

$(READY): pyproject.toml requirements.lock .ci/venv
	@.ci/venv $(VENV)
	@touch $@
