# Everything a reader or an author does, from nothing but Python and make.
# `make help` lists it.

VENV ?= .venv
PORT ?= 8000
PROFILE ?= small
JOBS ?= 2

BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A file stays with one worker, because its fixtures are dear.
PARALLEL := $(BIN)/pytest --numprocesses=$(JOBS) --dist=loadfile
APART := browser cluster colab test_book.py
PYTEST := $(PARALLEL) $(APART:%=--ignore=tests/%)
NOTEBOOKS = $(wildcard book/*.ipynb)

# TensorFlow has wheels for these versions; a Python without venv cannot help.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := python3.13 python3.12 python3.11 python3 python

export KERAS_BACKEND ?= tensorflow
export TF_CPP_MIN_LOG_LEVEL := 3
# TensorFlow leaves oneDNN off on some processors, where it is five times as fast.
export TF_ENABLE_ONEDNN_OPTS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Kernels of this environment come before any of the user's with the same name.
export JUPYTER_PATH := $(abspath $(VENV))/share/jupyter
# A backend of the user's choice would leave the notebooks without figures.
unexport MPLBACKEND
# Without byte code every process would compile Keras and TensorFlow anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-14s%s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(READY) ## create .venv with the exact tested set and the package

$(READY): requirements.txt pyproject.toml
	@found=; $(BIN)/python -c "$(SUITABLE)" 2>/dev/null || { \
	  for candidate in $(PYTHON) $(if $(PYTHON),,$(CANDIDATES)); do \
	    if $$candidate -c "$(SUITABLE)" 2>/dev/null; then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "No suitable Python among: $(or $(PYTHON),$(CANDIDATES))." >&2; \
	    echo "Python 3.11, 3.12 or 3.13 with the venv module is needed" >&2; \
	    echo "(Debian: apt-get install python3-venv), or name one: make PYTHON=..." >&2; \
	    exit 1; \
	  fi; \
	  echo "Creating $(VENV) with $$($$found --version)"; \
	  $$found -m venv --clear $(VENV); \
	}
	@$(BIN)/python -m pip install --quiet uv \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e . \
	  || { echo "uv could not install; trying pip, which takes longer"; \
	       $(BIN)/python -m pip install --quiet -r requirements.txt \
	       && $(BIN)/python -m pip install --quiet --no-deps -e .; }
	@touch $@

.PHONY: book
book: $(READY) ## build the book into _build/html
	$(BIN)/jupyter-book build . $(BOOKFLAGS)
	@echo "The book is in _build/html. To read it: make serve"

.PHONY: serve
serve: book ## build the book and serve it on this machine, PORT=8000
	@$(BIN)/python -u -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

.PHONY: test
test: $(READY) ## test the library on three backends
	@echo "== Tests on TensorFlow"
	KERAS_BACKEND=tensorflow $(PYTEST)
	@echo "== Tests on JAX"
	KERAS_BACKEND=jax $(PYTEST) -m backends
	@echo "== Tests on PyTorch"
	@if reason=$$($(BIN)/python -c "import torch" 2>&1); then \
	  KERAS_BACKEND=torch $(PYTEST) -m backends; \
	else \
	  echo "skipped: $$(echo "$$reason" | tail -n 1)"; \
	fi

.PHONY: pages
pages: book ## build the book and test its pages, also in a browser
	BOOK_IS_BUILT=1 $(PARALLEL) tests/test_book.py tests/browser

.PHONY: notebooks
notebooks: $(READY) ## run every notebook as a reader does, apart from the book
	$(PYTEST) --nbmake --nbmake-kernel=python3 --nbmake-timeout=600 book

.PHONY: cluster
cluster: $(READY) ## test runs on several processes, devices and machines
	KERAS_BACKEND=tensorflow $(BIN)/pytest tests/cluster
	KERAS_BACKEND=jax $(BIN)/pytest tests/cluster -m backends

.PHONY: colab
colab: $(READY) ## run the notebooks and the tests as Colab would, COLAB_PYTHON=...
	$(BIN)/pytest tests/colab

.PHONY: results
results: $(READY) ## run the experiments whose records are missing, RUNFLAGS=...
	$(BIN)/python -m dropblock_lib.experiments run --profile $(PROFILE) $(RUNFLAGS)
	$(BIN)/python -m dropblock_lib.experiments run --grid results/tuning.toml $(RUNFLAGS)

.PHONY: queue
queue: $(READY) ## run what the queue still lacks, in its order, RUNFLAGS=...
	nice -n 10 $(BIN)/python -m dropblock_lib.experiments run --queue $(RUNFLAGS)

.PHONY: queue-status
queue-status: $(READY) ## show how far the queue is, and the hours left
	@$(BIN)/python -m dropblock_lib.experiments status

.PHONY: bench
bench: $(READY) ## measure the layer, training steps and peers, BENCHFLAGS=...
	$(BIN)/python -m benchmarks.run $(BENCHFLAGS)

.PHONY: lint
lint: $(READY) ## check style, types, and that notebooks carry no outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify --keep-id $(NOTEBOOKS))
	$(BIN)/python book/setup_cell.py --check

.PHONY: requirements
requirements: $(READY) ## compile requirements.txt anew from pyproject.toml
	$(BIN)/uv pip compile --universal --fork-strategy fewest \
	  --python-version 3.11 --extra dev --no-annotate \
	  --custom-compile-command "make requirements" \
	  --no-emit-index-url --no-emit-find-links \
	  pyproject.toml -o requirements.txt

.PHONY: clean
clean: ## remove what was built; keep .venv
	rm -rf _build dist .pytest_cache .ruff_cache .hypothesis
