# `make demo` runs the main job, `make test` the whole test suite; both make the environment they need first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# compiled bytecode decides whether `import lightning` takes 4 seconds or 25
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test lint audit bench stress simulate atlas atlas-smoke clean
help:
	@echo "make demo     train the batch norm network on Fashion-MNIST, testing after every epoch"
	@echo "make test     run the whole test suite"
	@echo "make bench    measure what training costs (half an hour, on a machine with nothing else to do)"
	@echo "make stress   damaged files, kills, full disks, a thousand fits (25 minutes): writes docs/reliability.md"
	@echo "make simulate how often the statistics err, and intervals cover (minutes): writes docs/statistics.md"
	@echo "make atlas    write docs/atlas.md, its figure and cards from the records in docs/studies/atlas_*"
	@echo "make atlas-smoke  train a small atlas on scikit-learn's digits and write its page (a minute): logs/atlas_smoke"
	@echo "make install  make $(VENV) with fashionreg in it; $(BIN)/fashionreg --help says more"
	@echo "make lint     ruff and mypy"
	@echo "make audit    look the pinned versions up among the known vulnerabilities (needs the internet)"
	@echo "make clean    remove $(VENV) and caches; data and logs stay"

# uv unpacks five gigabytes of wheels several times faster than pip; the versions are those that were tested
UV = $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraint constraints.txt
$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/uv
	@echo "installing fashionreg into $(VENV) (PyTorch is large: this takes a few minutes once)"
	$(UV) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(UV) --editable ".[dev]"
	@touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/fashionreg fit --config configs/bn.yaml --synthetic_if_missing true

# two processes of one thread each: four minutes on two cores, where one after the other takes six
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# every pinned version as it stands: nothing is installed or resolved for it
audit: $(VENV)/.installed
	$(UV) --editable ".[audit]"
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

# without JAX the benchmark leaves out its rows; the next `make bench` tries again
$(VENV)/.installed-bench: $(VENV)/.installed-dev
	@$(UV) --editable ".[dev,bench]" && touch $@ || echo "JAX could not be installed: the benchmark goes without it"

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

stress: $(VENV)/.installed-dev
	$(BIN)/python -m stress

simulate: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m simulations

ATLAS = $(wildcard docs/studies/atlas_*)
atlas: install
	$(if $(ATLAS),,$(error docs/studies holds no atlas_* yet: keep plan and records of a finished study there))
	rm -rf docs/regularizers
	$(BIN)/fashionreg atlas $(ATLAS) --out docs --force

atlas-smoke: install
	$(BIN)/fashionreg study configs/studies/atlas_smoke.yaml
	$(BIN)/fashionreg atlas logs/studies/atlas_smoke --out logs/atlas_smoke --force

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
