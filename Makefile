# The commands of this project. Each makes the environment first if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
AVALANCHE := .venv-avalanche
SITE := .venv-docs
SEED ?= 0
FUZZ_SECONDS ?= 60
# Rooms that know nothing of Prefect, Git, DVC and MLflow, or next to nothing.
FAST := tests/records tests/dataset tests/models tests/reports tests/tasks/validate tests/flows/terminal tests/docs

# No telemetry: every tool is told so.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1
# Each program that a test starts is Python anew: where compiling is forbidden, it would compile retain each time.
export PYTHONDONTWRITEBYTECODE :=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test-fast test test-all fuzz lint check format data docs reference bench bench-quick bench-ingest bench-growth bench-segmentation bench-verdict lock clean

help:  ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/' | expand -t 20

setup: $(READY)  ## make the environment in .venv from the lock

$(READY): requirements.lock pyproject.toml
	@echo "Installing into $(VENV): about 6 GB with PyTorch's CUDA libraries, a minute or two on a good network."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(READY)

demo: $(READY)  ## seven nights over real images, in ./demo
	$(BIN)/retain demo

ui: $(READY)  ## Prefect and MLflow over what the demo left behind, until Ctrl-C
	$(BIN)/retain ui --workspace demo

test-fast: $(READY)  ## what needs no server and no other program, in about a minute: for the work in between
	$(BIN)/pytest -n 2 --dist worksteal --fast $(FAST)

test: $(READY)  ## the tests, all but the slow ones, in some seven minutes
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 10 -m "not slow"

test-all: $(READY)  ## every test, the slow ones too
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 25 --fresh-dvc

fuzz: $(READY)  ## damaged images and masks through ingest, a minute; SEED=7 for others
	$(BIN)/python -m tests.corpus.fuzz --seconds $(FUZZ_SECONDS) --seed $(SEED)

lint: $(READY)  ## style, and which part may import which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

check: $(READY)  ## types
	$(BIN)/mypy

format: $(READY)  ## bring the code into the project's form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

data: $(READY)  ## write the digits that data.dvc names
	$(BIN)/retain stream digits

bench: $(READY) $(AVALANCHE)/.ready  ## every strategy, three seeds, Avalanche beside: docs/benchmarks.md, an hour
	$(BIN)/python -m benchmarks --avalanche $(AVALANCHE)/bin/python

bench-quick: $(READY)  ## one seed of the cases that matter most, some minutes
	$(BIN)/python -m benchmarks --quick --out .retain/bench-quick.jsonl

bench-ingest: $(READY)  ## how fast images come in: its section of docs/benchmarks.md, some minutes and 5 GB of disk
	$(BIN)/python -m benchmarks.ingest

bench-verdict: $(READY)  ## how often a verdict errs, simulated: the tables of decision 0002, a minute
	$(BIN)/python -m benchmarks.verdict

bench-segmentation: $(READY)  ## what strategies keep of nights with masks: its section of docs/benchmarks.md, an hour
	$(BIN)/python -m benchmarks.segmentation

bench-growth: $(READY)  ## what 100 nights cost, and what each leaves behind, a quarter of an hour
	$(BIN)/python -m benchmarks.growth --nights 100

$(AVALANCHE)/.ready: $(READY) benchmarks/avalanche/requirements.txt
	$(PYTHON) -m venv $(AVALANCHE)
	$(BIN)/uv pip install --quiet --python $(AVALANCHE)/bin/python --compile-bytecode -r benchmarks/avalanche/requirements.txt
	@touch $@

docs: $(READY) $(SITE)/.ready reference  ## the documentation as a site, in build/site; a dead link ends it
	$(BIN)/python -m docs.pages gather build/pages
	$(SITE)/bin/zensical build --strict --clean
	$(BIN)/python -m docs.pages look build/site

$(SITE)/.ready: $(READY) docs/requirements.lock
	$(PYTHON) -m venv $(SITE)
	$(BIN)/uv pip install --quiet --python $(SITE)/bin/python --compile-bytecode --require-hashes -r docs/requirements.lock
	@touch $@

reference: $(READY)  ## make docs/checks.md anew from the checks themselves
	$(BIN)/python -m tasks.validate.handbook > docs/checks.md

lock: $(READY)  ## resolve pyproject.toml anew into requirements.lock and docs/requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group docs -o docs/requirements.lock

clean:  ## remove the environment and the demo
	rm -rf $(VENV) $(AVALANCHE) $(SITE) build demo
