# `make` lists the targets; every target that needs the environment sets it up first.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
.DEFAULT_GOAL := help
.PHONY: help setup demo test check slow long faults mutants fuzz bench soak reference portrait lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv: hash-locked packages, the verger command, the Delta jars

demo: $(READY) ## draw pictures, stream them, show what became of them
	@$(BIN)/verger demo

test: $(READY) ## run the test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not long and not slow'

slow: $(READY) ## run the tests that take minutes and that CI runs: EMR's package on a real Spark cluster, a day in each role, faults
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

long: $(READY) ## run the long tests: further stories and networks, examples that nobody has seen before (minutes)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m long
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'hypothesis and not long' --hypothesis-profile search

faults: $(READY) ## kill the program for MINUTES (60) by schedules drawn from SEED (1), and hold what is left against the rules
	@$(BIN)/python -m tests.faults --minutes $(or $(MINUTES),60) --seed $(or $(SEED),1) --s3-every 6

mutants: $(READY) ## take one safeguard after the other out: the fault suite must notice each (a quarter of an hour)
	@$(BIN)/python -m tests.faults.mutants --intact

fuzz: $(READY) ## decode mutated pictures for SECONDS (60): no crash, no hang, bounded memory
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

check: $(READY) ## lint, types, import contracts, templates
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/cfn-lint

bench: $(READY) ## measure the stream, the refit, buckets, what a report finds, reports and statuses of large lakes, requests (minutes; ratios)
	@$(BIN)/python -m tests.bench.throughput
	@$(BIN)/python -m tests.bench.flat
	@$(BIN)/python -m tests.bench.refit
	@$(BIN)/python -m tests.bench.wide
	@$(BIN)/python -m tests.bench.fetch
	@$(BIN)/python -m tests.bench.collector
	@$(BIN)/python -m tests.bench.polls
	@$(BIN)/python -m tests.bench.mislabelled
	@$(BIN)/python -m tests.bench.spaces
	@$(BIN)/python -m tests.bench.status
	@$(BIN)/python -m tests.bench.requests

soak: $(READY) ## stream for 500 micro-batches and show what grows (a quarter of an hour)
	@$(BIN)/python -m tests.bench.soak

reference: $(READY) ## write the generated parts of README.md and its picture anew
	@$(BIN)/python -m bootstrap.reference README.md

portrait: $(READY) ## take the README's picture of a report, of a demo in /tmp/orchard (needs Chromium)
	@$(BIN)/verger demo --folder /tmp/orchard
	@$(BIN)/verger report --lake /tmp/orchard/lake --out /tmp/orchard/report
	@$(BIN)/python -m tests.report.picture /tmp/orchard/report/report.html docs/report.jpg

lock: $(READY) ## resolve requirements.txt anew from pyproject.toml, and what of it a cluster gets
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	    --extra compile --extra dev --extra emr --custom-compile-command 'make lock' -o requirements.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --python-platform x86_64-manylinux_2_34 --python-version 3.11 --generate-hashes \
	    --no-annotate --constraint requirements.txt --group pyproject.toml:legs \
	    --custom-compile-command 'make lock' -o bootstrap/emr/packing/environment.txt

clean: ## remove everything that make and the demo created
	rm -rf $(VENV) verger-demo build dist spark-warehouse .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo 'Verger needs Python 3.11 (found: $(PYTHON)). Install it (apt-get install python3.11 python3.11-venv, or pyenv install 3.11) or say make PYTHON=/path/to/python3.11'; exit 2; }
	@"$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version 2>&1 | grep -qE 'version "(1[7-9]|2[0-9])' || { \
	  echo 'Verger needs Java 17. Install it (apt-get install openjdk-17-jre-headless, or brew install openjdk@17) and put it on PATH.'; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m conf.jars
	@touch $@
