# `make up` and `make test` need Python 3.11 or newer, make and a network; the rest they fetch.
# Everything lands in this folder (.venv, .kvnode, .hosts, .cache, dashboard/node_modules), except
# Debian packages, which are installed when make runs as root.

# The distribution's own Python, if it will do: it is what hosts run, and often the faster build. Else the path's.
PYTHON ?= $(firstword $(shell /usr/bin/python3 -c 'import importlib.util as u, os, shutil, sys; \
	able = u.find_spec("ensurepip") or (os.geteuid() == 0 and shutil.which("apt-get")); \
	sys.version_info >= (3, 11) and able and print(sys.executable)' 2>/dev/null) python3)
BIN := .venv/bin
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix dashboard

# for the tests: a browser, and what boots systemd hosts and breaks their network and disks
TEST_PACKAGES := chromium mmdebstrap systemd-container iproute2 nftables openssh-client e2fsprogs libatomic1 strace

# to compile what a request passes through; without them kvnode runs interpreted
COMPILE_PACKAGES := gcc libc6-dev libpython3-dev

# for the benchmark: what kvnode is compared with, and what asks them all
BENCH_PACKAGES := etcd-server redis-server webdis wrk

# how long `make soak` goes on
SECONDS ?= 600

PROTOS := $(wildcard proto/kvnode/rpc/pb/*.proto)
GRPC_CODE := kvnode/rpc/pb/__init__.py
SOURCES := $(shell find kvnode -name '*.py' -not -path 'kvnode/rpc/pb/*') \
	pyproject.toml README.md LICENSE proto/build_hook.py proto/compile.py
NODE_MODULES := dashboard/node_modules/.package-lock.json
DASHBOARD := kvnode/controller/dashboard/index.html
DASHBOARD_SOURCES := $(shell find dashboard/src dashboard/public dashboard/index.html -type f 2>/dev/null) \
	$(wildcard dashboard/*.json dashboard/*.ts)

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help up bench bench-packages profile test test-quick test-setup simulate soak steady check check-style check-types check-layers \
	check-dashboard \
	check-yaml check-ansible check-units format proto dashboard wheel hosts hosts-down lock packages \
	python-venv clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

up: .venv/.kvnode ## run a controller and four workers on this machine, with the dashboard
	@exec $(BIN)/kvnode up $(UP)

test: test-setup ## run all tests: the five systemd hosts and the browser too, as root on Debian
	@$(BIN)/python -m pytest

test-quick: .venv/.dev .venv/.sources ## run the tests that start no processes: a minute or two
	@$(BIN)/python -m pytest -m "unit or simulation"

test-setup: packages .venv/.dev .venv/.kvnode
	@$(NPM) --silent test

bench: bench-packages .venv/.dev .venv/.kvnode ## compare with etcd and redis on this machine (BENCH="--help" tells how)
	@$(BIN)/python -m tests.bench.versus $(BENCH)

profile: bench-packages .venv/.dev .venv/.sources ## sample the workers under load, and print where their time goes (PROFILE="--help")
	@$(BIN)/python -m tests.bench.profile $(PROFILE)

SEEDS ?= 1000
FIRST ?= 1
JOBS ?= 2
simulate: .venv/.dev .venv/.sources ## live through many simulated histories (SEEDS=10000 FIRST=1 JOBS=2 JSON=file)
	@$(BIN)/python -m tests.simulation run --seeds $(SEEDS) --first $(FIRST) --jobs $(JOBS) $(if $(JSON),--json $(JSON))

check: check-style check-types check-layers check-dashboard check-yaml check-ansible check-units ## lint and type-check everything

check-style: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

check-types: .venv/.dev .venv/.sources
	$(BIN)/mypy

check-layers: .venv/.dev .venv/.sources
	$(BIN)/lint-imports --cache-dir .cache/import-linter

check-dashboard: $(NODE_MODULES)
	$(NPM) --silent run lint
	$(NPM) --silent run typecheck

check-yaml: .venv/.dev
	$(BIN)/yamllint --strict .

check-ansible: .venv/.dev
	cd ansible && PATH="$(CURDIR)/$(BIN):$$PATH" ansible-lint --offline --profile production --strict

check-units: packages .venv/.dev
	$(BIN)/python -m tests.support.verify_units

format: .venv/.dev ## format the Python code
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

proto: $(GRPC_CODE) ## generate the gRPC code

dashboard: $(DASHBOARD) ## build the dashboard

wheel: .venv/.build $(DASHBOARD) ## build wheels into dist: one for any machine, and a compiled one for such as this
	@$(call need_compiler)
	$(BIN)/python -m hatchling build -t wheel
	@! $(CAN_COMPILE) || $(COMPILED) $(BIN)/python -m hatchling build -t wheel

hosts: packages .venv/.dev .venv/.sources $(DASHBOARD) ## boot five systemd hosts and run the playbook on them
	$(BIN)/python -m tests.hosts.machines up

hosts-down: .venv/.dev ## remove the hosts
	$(BIN)/python -m tests.hosts.machines down

soak: packages .venv/.dev .venv/.sources $(DASHBOARD) ## SECONDS=600 of random faults on five hosts (SEED=), then as many of steady load
	@$(BIN)/python -m tests.hosts.soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
	@$(MAKE) --no-print-directory steady

steady: bench-packages .venv/.dev .venv/.kvnode ## SECONDS=600 of steady load: do merges show in p99, does memory grow?
	@$(BIN)/python -m tests.bench.steady --seconds $(SECONDS)

lock: .venv/.dev ## choose the newest allowed versions of all dependencies and write them down with hashes
	$(call compile,requirements-dev.lock,--extra dev)
	$(call compile,requirements-build.lock,--extra build --constraint requirements-dev.lock)
	$(call compile,requirements.lock,--constraint requirements-dev.lock)

compile = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock" --output-file $(1) $(2) pyproject.toml

clean: ## remove what make made, but neither data (.kvnode) nor running hosts
	rm -rf .venv .cache build dist kvnode/rpc/pb kvnode/controller/dashboard dashboard/dist dashboard/node_modules

# --- what the above are made of ------------------------------------------------------------------

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kvnode needs Python 3.11 or newer, named like this: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory python-venv
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.build: .venv/.created requirements-build.lock
	@echo "installing what kvnode and its build need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	@$(BIN)/python -m tests.support.node_links
	@touch $@

.venv/.dev: .venv/.build requirements-dev.lock
	@echo "installing what the tests and checks need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation

# What runs as a service is the wheel, compiled where that is possible: `python -P -m kvnode` and .venv/bin/kvnode.
.venv/.kvnode: .venv/.build $(SOURCES) $(GRPC_CODE) $(DASHBOARD)
	@$(call need_compiler)
	@touch .venv/.begun
	@if $(CAN_COMPILE); then \
		echo "compiling kvnode: a minute or two when its code has changed ..."; \
		$(COMPILED) $(PIP_INSTALL) --force-reinstall .; \
	else \
		$(PIP_INSTALL) --force-reinstall .; \
	fi
	@touch -r .venv/.begun $(GRPC_CODE) $@ # what is edited meanwhile is newer

# Tests and checks take the sources in this folder. They want to know kvnode's version, however it is installed.
.venv/.sources: .venv/.build $(GRPC_CODE)
	@$(BIN)/python -P -c 'from importlib.metadata import version; version("kvnode")' 2>/dev/null || \
		{ $(PIP_INSTALL) -e . && touch $(GRPC_CODE); }
	@touch $@

CAN_COMPILE := $(BIN)/python proto/compile.py --check >/dev/null
COMPILED := KVNODE_COMPILED=1 KVNODE_COMPILE_CACHE=$(CURDIR)/.cache/compile
need_compiler = if ! $(CAN_COMPILE) 2>/dev/null; then $(call need,$(COMPILE_PACKAGES)); fi

$(GRPC_CODE): $(PROTOS) proto/build_hook.py | .venv/.build
	@$(BIN)/python proto/build_hook.py

$(NODE_MODULES): dashboard/package-lock.json | .venv/.build
	@echo "installing what the dashboard's build needs ..."
	@$(NPM) ci --silent
	@touch $@

$(DASHBOARD): $(NODE_MODULES) $(DASHBOARD_SOURCES)
	@echo "building the dashboard ..."
	@$(NPM) run --silent build
	@rm -rf $(@D)
	@cp -R dashboard/dist $(@D)
	@touch $@

packages:
	@$(call need,$(TEST_PACKAGES))

bench-packages:
	@$(call need,$(BENCH_PACKAGES))

need = missing=""; for package in $(1); do \
	dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "NOT INSTALLED, for want of root on Debian:$$missing" >&2; exit 0; \
	fi; \
	echo "installing Debian packages:$$missing"; \
	$(call apt_install,$$missing)

python-venv:
	@if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "$(PYTHON) has no ensurepip: install python3-venv, or name another: make PYTHON=... " >&2; exit 1; \
	fi; \
	$(call apt_install,python3-venv)

apt_install = export DEBIAN_FRONTEND=noninteractive; \
	apt-get install -qq --no-install-recommends $(1) >/dev/null 2>&1 || \
	{ apt-get update -qq && apt-get install -qq --no-install-recommends $(1) >/dev/null; }
