PYTHON ?= python3
BIN := .venv/bin
RUNS := runs/demo_text_only runs/demo_hvpnet
# Beside other busy processes, two threads wait for each other many times longer than they compute.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS

.PHONY: help setup demo test test-fast options lowest soak gpu-report lint audit clean

help:
	@echo "All commands below but lowest use .venv, which make fills with an editable install of this checkout."
	@echo "make demo       write a corpus, train and test two methods on it, and compare them (minutes)"
	@echo "make test       run the whole test suite"
	@echo "make docs       build the documentation in site/, which opens without a network"
	@echo "make notebooks  run the notebooks and keep their outputs (minutes)"
	@echo "make test-fast  run only the tests that start no process and no notebook"
	@echo "make lowest     run the suite on the lowest versions that pyproject.toml admits"
	@echo "make soak       run the long versions of the robustness tests (hours)"
	@echo "make gpu-report measure on a GPU what was not measured yet, and write docs/background/gpu.md (minutes)"
	@echo "make lint       check style and types"
	@echo "make options    write the tables of options and methods after one has changed"
	@echo "make audit      list known vulnerabilities and newer versions of installed packages (needs PyPI)"
	@echo "make clean      remove the files that make demo wrote"

setup: .venv/installed

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("mmie needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "Installing mmie and its development packages into .venv: about 7 GB, most of it torch and CUDA, and minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --editable '.[dev]' | grep --line-buffered -E '^ *(Downloading|Using cached|Installing|Successfully)' | cut -c 1-120
	@$(BIN)/python -c 'import mmie'  # fails if pip, whose status a pipe hides, has failed
	@du --summarize --human-readable .venv
	@touch $@

demo: setup
	$(BIN)/mmie corpus demo --root demo
	$(BIN)/mmie fit --config configs/demo_text_only.yaml --overwrite true
	$(BIN)/mmie test --config configs/demo_text_only.yaml
	$(BIN)/mmie fit --config configs/demo_hvpnet.yaml --overwrite true
	$(BIN)/mmie test --config configs/demo_hvpnet.yaml
	$(BIN)/mmie test --config configs/demo_hvpnet.yaml --data.pictures shuffled
	$(BIN)/mmie test --config configs/demo_hvpnet.yaml --data.pictures none
	$(BIN)/mmie compare $(RUNS) --out runs/demo_comparison

test: setup
	$(BIN)/pytest --numprocesses auto

test-fast: setup
	$(BIN)/pytest --numprocesses auto -m "not slow"

.PHONY: docs notebooks

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: setup
	$(BIN)/jupyter nbconvert --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb
	$(BIN)/jupyter nbconvert --coalesce-streams --inplace notebooks/*.ipynb

lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet uv
	.venv-lowest/bin/uv pip install --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	.venv-lowest/bin/pytest --numprocesses auto

soak: setup
	$(BIN)/pytest --soak tests/soak

gpu-report: setup
	$(BIN)/python -m mmie.experiments.gpu_report --out docs/background/gpu.md

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

options: setup
	$(BIN)/python -m mmie.cli.option_table
	$(BIN)/python -m mmie.reports.method_classes

audit: setup
	$(BIN)/pip list --outdated
	$(BIN)/pip freeze --exclude-editable > .venv/audited.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement .venv/audited.txt

clean:
	rm -rf demo runs/demo_comparison $(RUNS)
