# Every target sets up what it needs: .venv, from the lock that fits the machine.
#   make table1                            the default experiment
#   make table1 CONFIG=workflow/config/tiny-offpolicy.yaml
#   make test ARGS="tests/kpo -k kalman"   some of the tests
PYTHON ?= python3.11
CONFIG ?=
ARGS ?=

# cpu or gpu: gpu where an NVIDIA driver is seen, unless the caller says otherwise.
ifndef LOCK
LOCK := $(shell if [ -e /proc/driver/nvidia/version ] || nvidia-smi >/dev/null 2>&1; then echo gpu; else echo cpu; fi)
endif
READY := .venv/.installed-$(LOCK)

# The workflow's shell commands find `python` in the environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
BIN := .venv/bin
SNAKEMAKE = $(BIN)/snakemake --cores all results/table1.csv $(if $(CONFIG),--configfile $(CONFIG))
BENCHES := $(basename $(notdir $(wildcard tests/bench/bench_*.py)))

.DEFAULT_GOAL := help
.PHONY: help table1 report test bench lint env clean-env

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

table1: $(READY) ## train, evaluate and tabulate: results/table1.csv
	$(SNAKEMAKE)

report: table1 ## the workflow's own report: results/report.html
	$(SNAKEMAKE) --report results/report.html

test: $(READY) ## the test suite (ARGS="..." goes to pytest)
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),tests)

bench: $(READY) .venv-trl/.installed-trl ## speed of filter, sampler, grader, and trainer beside TRL
	$(foreach bench,$(BENCHES),$(BIN)/python -m tests.bench.$(bench) &&) true

lint: $(READY) ## ruff, mypy and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakemake --lint

env: $(READY) ## only set up .venv

clean-env: ## remove .venv and .venv-trl
	rm -rf .venv .venv-trl

.venv/.installed-%: workflow/lock/%.txt
	@workflow/setup.sh $* "$(PYTHON)"

.venv-trl/.installed-trl: workflow/lock/trl.txt
	@workflow/setup.sh trl "$(PYTHON)"
