# `make run` starts a farm of three members, `make test` shows that it works; both set up what they need.
SHELL := /bin/bash

.DEFAULT_GOAL := help

LISTEN ?= 127.0.0.1:5060
MEMBERS ?= 3
FUZZ_SECONDS ?= 12
SEEDS ?= 20000

PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
NATIVE := CMakeLists.txt pyproject.toml $(shell find sipfarm/native/src)

.PHONY: run demo test check sim fuzz bench soak setup setup-test clean help

run: setup  ## a farm of three members on 127.0.0.1:5060 (LISTEN=, MEMBERS=, ARGS=)
	exec .venv/bin/sipfarm run --members $(MEMBERS) --listen $(LISTEN) $(ARGS)

demo: setup  ## two softphones call through a farm, and what each heard
	exec .venv/bin/sipfarm demo $(ARGS)

test: setup-test  ## everything, in less than 15 minutes (FUZZ_SECONDS=, PYTEST_ARGS=)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/test.sh check native sanitized fuzz pytest e2e

check: setup-test  ## lint, types, import floors
	@tools/test.sh check

sim: setup-test  ## the farm in virtual time: SEEDS=20000 of them, or SEED=n replays one
	.venv/bin/python -m sipfarm.testing.sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

fuzz: FUZZ_SECONDS := 600
fuzz: setup-test  ## each fuzz target for ten minutes (FUZZ_SECONDS=)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/test.sh fuzz

bench: setup-test  ## the benchmarks, against the peers where there is one (BENCH=signaling runs one)
	@set -e; for bench in loadtests/bench_$(or $(BENCH),*).py; do \
	    echo "== $$bench"; .venv/bin/python -m loadtests.$$(basename $$bench .py) $(ARGS); done

soak: setup-test  ## native tests under the thread sanitizer, then the long runs
	@tools/test.sh threads
	@set -e; shopt -s nullglob; for soak in loadtests/soak_*.py; do \
	    echo "== $$soak"; .venv/bin/python -m loadtests.$$(basename $$soak .py) $(ARGS); done

setup: packages-run .venv/native.stamp  ## system packages, virtual environment, build

setup-test: packages-test setup .venv/test.stamp

.PHONY: packages-run packages-test
packages-run packages-test: packages-%:
	@tools/packages.sh $*

.venv/venv.stamp: tools/venv.sh | packages-run
	@tools/venv.sh $(PYTHON)
	@touch $@

.venv/run.stamp: .venv/venv.stamp pyproject.toml constraints.txt
	@echo "installing Python packages"
	@$(PIP) install --constraint constraints.txt $$(.venv/bin/python tools/requirements.py run phone build)
	@touch $@

.venv/test.stamp: .venv/run.stamp
	@echo "installing Python packages for tests"
	@$(PIP) install --constraint constraints.txt $$(.venv/bin/python tools/requirements.py test)
	@touch $@

# An editable install knows its modules by their paths: one that was moved or added makes it anew.
.venv/modules.list: FORCE | .venv/venv.stamp
	@find sipfarm -name '*.py' | LC_ALL=C sort >$@.new
	@cmp -s $@.new $@ || cp $@.new $@
	@rm $@.new

.PHONY: FORCE
FORCE:

.venv/native.stamp: .venv/run.stamp .venv/modules.list $(NATIVE)
	@echo "building the native module"
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

clean:  ## removes everything that was built or installed here
	rm -rf build .venv

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10
