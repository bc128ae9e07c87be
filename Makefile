# `make demo` and `make test` set up everything they need in .venv; a second call is fast.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
DATA ?=
export OMP_NUM_THREADS ?= 2

.PHONY: demo test bench clean

demo: $(VENV)/.core
	$(BIN)/tonotopy demo $(DATA)

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	OMP_NUM_THREADS=1 $(BIN)/pytest

bench: $(VENV)/.dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/losses.py --peers
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/losses.py --batches 16384 --dims 128 \
		--losses ArcFaceLoss AngularDistanceDistributionLoss NTXentLoss SupConLoss \
		AngularMarginContrastiveLoss AngularContrastiveLoss
	$(BIN)/python benchmarks/peers/defects.py

$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) site dist
