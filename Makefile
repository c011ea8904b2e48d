# The way in. `make` alone lists what there is.
PYTHON ?= python3
PORT ?= 8888
LAB_ARGS ?=
ENV := .venv/bin/python

# Packages of another Python must not leak into this one's.
unexport PYTHONPATH PYTHONHOME
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help install lab check test notebooks checkpoints bench clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

install: ## build the environment in .venv, or update it (PYTHON=, TORCH_INDEX=, CONSTRAINTS=)
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { echo "make install: there is no $(PYTHON) on this machine: \
	install Python 3.11 or newer, or name one, for example: make install PYTHON=/opt/bin/python3.12" >&2; exit 1; }
	@"$(PYTHON)" tools/install.py

lab: install ## open the course in JupyterLab (PORT=8888, LAB_ARGS="--no-browser")
	@$(ENV) tools/lab.py --port=$(PORT) $(LAB_ARGS)

check: install ## style and units: what a change to the code needs, in minutes
	@$(ENV) tools/run_lanes.py --lane style --lane units

test: install ## run every check there is: code, notebooks, exercises, browser (LESSONS="08 09")
	@$(ENV) tools/run_lanes.py $(if $(LESSONS),--lessons $(LESSONS))

notebooks: install ## rebuild the notebooks whose source in solutions/ changed (NAMES="01_...", FORCE=1)
	@$(ENV) tools/build_notebooks.py $(if $(FORCE),--force) $(NAMES)

checkpoints: install ## train every shipped checkpoint again, from its recipe in data/checkpoints/
	@found=; for recipe in data/checkpoints/*.py; do \
	    [ -e "$$recipe" ] || continue; \
	    found=yes; echo "$$recipe"; $(ENV) "$$recipe" || exit 1; \
	done; [ "$$found" ] || echo "No lesson ships a checkpoint yet: there is no recipe in data/checkpoints/."

bench: install ## measure: picture generator, explorer, each notebook, disk
	@$(ENV) tools/bench.py

clean: ## remove .venv, build/ and caches; never notebooks, progress or downloads
	rm -rf .venv build .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
