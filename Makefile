# make setup   .venv with everything a developer needs (also done by the others when it is missing or out of date)
# make demo    a real origin, real data, one host of cashy: read cold and warm through S3 and the client library
# make test    all tests        make lint   ruff, mypy, layers        make bench   benchmarks against real programs
# make placement               runs the simulations of docs/placement.md again and writes its picture and tables (twenty minutes)
# make clients                 the S3 clients that tests run unmodified, each in an environment of its own
# make system-packages         Debian packages that benchmarks compare against, and that tests need (needs root)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Programs that `make bench` compares cashy with.
SYSTEM_PACKAGES := nginx-light redis-server wrk
# Programs that tests need.
TEST_PACKAGES := rclone curl
# S3 clients that pin what others need otherwise, each in an environment of its own: tests/clients/requirements/<name>.txt
CLIENTS := $(patsubst tests/clients/requirements/%.txt,build/clients/%/.made,$(wildcard tests/clients/requirements/*.txt))

# Test processes at a time; most of what tests wait for are other processes.
TEST_PROCESSES := 2

.PHONY: setup demo test lint format docs bench placement clients test-packages system-packages clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^# //p' Makefile | head -6

setup: $(STAMP)

# pip of 25.1 is the first that reads dependency groups.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make setup: Python 3.11 or newer is needed; name it: make setup PYTHON=python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cashy,toucan]' --group dev
	touch $@

demo: $(STAMP)
	@$(BIN)/python -m tests.demo.demo

# Whole files at a time go to each process, so that what a file sets up is set up once.
test: $(STAMP)
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(STAMP)
	$(BIN)/python -m cashy.cli.reference docs
	$(BIN)/python -m toucan.cli.reference docs
	$(BIN)/python -m toucan.reference docs

$(VENV)/.set-up-bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	touch $@

bench: $(VENV)/.set-up-bench
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

placement: $(STAMP)
	$(BIN)/python -m tests.simulation.placement

clients: $(CLIENTS)

build/clients/%/.made: tests/clients/requirements/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

test-packages: SYSTEM_PACKAGES := $(TEST_PACKAGES)
test-packages system-packages:
	@missing=$$(for package in $(SYSTEM_PACKAGES) $(TEST_PACKAGES); do \
	    dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -q '^installed$$' || echo $$package; done); \
	if [ -z "$$missing" ]; then echo "system packages: all there"; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
	else echo "not root: please run  apt-get install" $$missing >&2; exit 1; fi

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
