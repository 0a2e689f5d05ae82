# Every target sets up what it needs: .venv, from the CPU lock unless LOCK=gpu.
#   make table1                            the default experiment
#   make table1 CONFIG=workflow/config/tiny-offpolicy.yaml
#   make science ARGS="memory clip"        some of the experiments that make up the evidence
#   make test ARGS="tests/kpo -k kalman"   some of the tests
#   make env LOCK=gpu                      the environment for experiments that use GPUs
#   make env PYTHON=python3.11             with this one, else with the newest of 3.11 to 3.13 there is
PYTHON ?=
CONFIG ?=
ARGS ?=

# cpu, on machines with a GPU too: the default experiment is the same everywhere. no-vllm where the CPU
# build of vLLM was not tried. Experiments that use GPUs need LOCK=gpu, once: an environment that is
# there is kept unless another is asked for.
THERE := $(patsubst .venv/.installed-%,%,$(firstword $(wildcard .venv/.installed-*)))
LOCK ?= $(or $(THERE),$(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),cpu,no-vllm))
READY := .venv/.installed-$(LOCK)

# The workflow's shell commands find `python` in the environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
BIN := .venv/bin
# In a terminal, what is left and how far the jobs are stands below Snakemake's messages.
SNAKEMAKE := $(BIN)/python -m kpo.watch -- $(BIN)/snakemake --cores all
OF = $(if $(CONFIG),--configfile $(CONFIG))
BENCHES := $(basename $(notdir $(wildcard tests/bench/bench_*.py)))

.DEFAULT_GOAL := help
.PHONY: help table1 watch science report test test-integrations test-trl test-verl test-slurm test-locks mutants bench lint env clean-env

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

table1: $(READY) ## train, evaluate and tabulate: results/table1.csv
	$(SNAKEMAKE) results/table1.csv $(OF)

watch: $(READY) ## how far the pipeline is that runs in this folder, wherever it was started
	$(BIN)/python -m kpo.watch

science: $(READY) ## every experiment of the suite, in hours (ARGS=--dry-run: says how many)
	$(BIN)/python -m evals.science $(ARGS)

report: $(READY) ## tables, figures, responses and what is kept: results/report.html
	$(SNAKEMAKE) reported $(OF)
	$(SNAKEMAKE) reported $(OF) --report results/report.html --report-stylesheet workflow/report.css

# A process a core, 4 at most; what a module sets up is set up once; the slow ones first, as
# tests/conftest.py puts them, not those of many tests. ARGS=-n0: in one process.
test: $(READY) ## the test suite (ARGS="..." goes to pytest)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder $(if $(ARGS),$(ARGS),tests)

test-integrations: test-trl test-verl test-slurm test-locks ## with the frameworks of others, and a real Slurm

test-trl: .venv-trl/.installed-trl
test-verl: .venv-verl/.installed-verl
test-trl test-verl: test-%:
	.venv-$*/bin/python -m pytest $(if $(ARGS),$(ARGS),tests/integrations/$*)

# As root, on a machine that has no other Slurm; Debian's packages are installed where they are missing.
test-slurm: $(READY) ## the pipeline as jobs of a Slurm that is started for it
	tests/slurm/install.sh
	KPO_TEST_SLURM=1 $(BIN)/python -m pytest -rs $(if $(ARGS),$(ARGS),tests/slurm)

test-locks: $(READY) ## every pin has a wheel, or builds, for every Python and machine (needs uv, and an index)
	KPO_TEST_LOCKS=1 $(BIN)/python -m pytest -rs $(if $(ARGS),$(ARGS),tests/test_locks.py)

mutants: $(READY) ## faults planted in the code: are they noticed? (ARGS="kpo.model.head.*")
	rm -rf mutants
	$(BIN)/mutmut run $(ARGS)
	$(BIN)/python -m tests.mutants.report

bench: $(READY) .venv-trl/.installed-trl ## speed of filter, sampler, grader, and trainer beside TRL
	$(foreach bench,$(BENCHES),$(BIN)/python -m tests.bench.$(bench) &&) true

lint: $(READY) ## ruff, mypy, the direction of imports, snakemake --lint, snakefmt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakemake --lint
	$(BIN)/snakefmt --check Snakefile workflow

env: $(READY) ## only set up .venv

clean-env: ## remove .venv, .venv-trl and .venv-verl
	rm -rf .venv .venv-trl .venv-verl

# Looked at again where a Python is named, which may be another than the environment's.
NAMED := $(if $(PYTHON),named-python)
.PHONY: named-python
named-python:

.venv/.installed-%: workflow/lock/%.txt $(NAMED)
	@workflow/setup.sh $* "$(PYTHON)"

.venv-trl/.installed-trl: workflow/lock/trl.txt $(NAMED)
	@workflow/setup.sh trl "$(PYTHON)"

.venv-verl/.installed-verl: workflow/lock/verl.txt $(NAMED)
	@workflow/setup.sh verl "$(PYTHON)"
