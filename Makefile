# Commands for readers and authors, which need only Python and make. `make help` lists
# the targets.

VENV ?= .venv
PORT ?= 8000
GRID ?= slides
JOBS ?= 2
# PyTorch is large, so it is not in requirements.txt.
BACKENDS ?= tensorflow jax \
  $(if $(wildcard $(VENV)/lib/python*/site-packages/torch),torch)

BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL_TORCH ?= $(BIN)/python -m pip install --quiet
# A test file stays with one worker, because its fixtures are expensive.
PYTEST := $(BIN)/pytest --numprocesses=$(JOBS) --dist=loadfile \
  $(patsubst %,--ignore=tests/%,browser cluster colab test_book.py)

NOTEBOOKS := $(wildcard book/*.ipynb)
# In reverse order, because later chapters take longer and should start first.
EXECUTED := $(patsubst %,_build/executed/%,$(shell ls -r $(NOTEBOOKS)))
# What the outputs of every notebook depend on.
CONTENT := requirements.txt book/matplotlibrc \
  $(shell find dropblock_lib results -name .partial -prune -o -type f \
    \( -name '*.py' -o -name '*.toml' -o -name '*.json' -o -name '*.js' -o -name '*.css' \) -print)
DRAWING := _build/ipython/profile_default/ipython_kernel_config.py
# Other files that pages depend on.
PAGES := _config.yml _toc.yml pyproject.toml Makefile \
  $(shell find book -type f ! -path '*/.*' ! -name '*.ipynb' ! -name '*.pyc')
# Two at a time, unless make was called with another number.
IN_PARALLEL = $(MAKE) --no-print-directory \
  $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(JOBS))

# TensorFlow has wheels for these versions, and a Python must have venv.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := python3.13 python3.12 python3.11 python3 python

export KERAS_BACKEND ?= tensorflow
export TF_CPP_MIN_LOG_LEVEL := 3
# On some processors, TensorFlow disables oneDNN, which is five times as fast.
export TF_ENABLE_ONEDNN_OPTS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# This environment's kernels precede a user's kernels of the same name.
export JUPYTER_PATH := $(abspath $(VENV))/share/jupyter
# Another backend of Matplotlib would leave the notebooks without figures.
unexport MPLBACKEND
# Without byte code every process would compile Keras and TensorFlow again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s%s\n", $$1, $$2}' Makefile

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
book: $(READY) ## run the notebooks that changed and build _build/html
	@$(IN_PARALLEL) _build/html/.built
	@echo "The book is in _build/html. To read it: make serve"

_build/html/.built: $(EXECUTED) $(CONTENT) $(PAGES)
	$(BIN)/jupyter-book build . $(BOOKFLAGS)
	@touch $@

.PHONY: notebooks
notebooks: $(READY) ## run the notebooks that changed, two at a time
	@$(IN_PARALLEL) $(EXECUTED)

# nbmake collects nothing below a folder named _build, so a notebook runs in its own
# folder, like a reader's copy. It is moved only if it ran to the end.
_build/executed/%.ipynb: %.ipynb $(CONTENT) _build/executed/.environment $(DRAWING)
	@mkdir -p $(@D)
	@echo "$< is running"
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && trap 'exit 1' INT TERM \
	  && cp $< "$$folder" \
	  && { $(BIN)/pytest -c pyproject.toml -p no:cacheprovider --quiet \
	         --nbmake --overwrite --nbmake-kernel=python3 --nbmake-timeout=600 \
	         "$$folder/$(<F)" >"$$folder/log" 2>&1 \
	       || { cat "$$folder/log"; exit 1; }; } \
	  && sed -n 's|.*passed in|$< ran in|p' "$$folder/log" \
	  && mv "$$folder/$(<F)" $@

# Figures on pages are SVG drawings, whatever the user's own settings are.
$(DRAWING): book/ipython_kernel_config.py
	@mkdir -p $(@D)
	@cp $< $@
_build/executed/% _build/html/%: export IPYTHONDIR := $(CURDIR)/_build/ipython
_build/executed/% _build/html/%: export MATPLOTLIBRC := $(CURDIR)/book/matplotlibrc

# Changes when another Python, backend or data folder would change the outputs.
_build/executed/.environment: FORCE | $(READY)
	@mkdir -p $(@D)
	@echo "$$($(BIN)/python --version) $(KERAS_BACKEND) $(DROPBLOCK_DATA)" >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: FORCE
FORCE:

.PHONY: pdf
pdf: book ## print the book and handouts, _build/html/*.pdf
	$(BIN)/python scripts/pdf.py _build/html _build/html/the-dropblock-book.pdf

.PHONY: serve
serve: book ## build the book and serve it on this machine, PORT=8000
	@$(BIN)/python -u -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

.PHONY: test
test: $(addprefix test-,$(BACKENDS)) ## test the library on BACKENDS=...
	@$(if $(filter torch,$(BACKENDS)),,echo "Not tested on PyTorch. To install it: make torch")

# TensorFlow runs all tests, the other backends those marked `backends`.
.PHONY: $(addprefix test-,$(BACKENDS))
$(addprefix test-,$(BACKENDS)): test-%: $(READY)
	@echo "== Tests on $*"
	KERAS_BACKEND=$* $(PYTEST) $(if $(filter tensorflow,$*),,-m backends)

# Tests compile the same programs again and again, which takes most of their time.
test-jax cluster: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/_build/jax
test-jax cluster: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
test-jax cluster: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES = -1

.PHONY: torch
torch: $(READY) ## install PyTorch, so that make test includes it
	$(INSTALL_TORCH) torch==2.13.0

.PHONY: pages
pages: book ## build the book and test its pages, also in a browser
	$(BIN)/pytest --numprocesses=$(JOBS) --dist=loadgroup tests/test_book.py tests/browser

.PHONY: cluster
cluster: $(READY) ## test runs on several processes, devices and machines
	KERAS_BACKEND=tensorflow $(BIN)/pytest tests/cluster
	KERAS_BACKEND=jax $(BIN)/pytest tests/cluster -m backends

.PHONY: colab
colab: $(READY) ## test and run all notebooks as Colab does, COLAB_PYTHON=...
	COLAB_ALL_TESTS=1 $(BIN)/pytest tests/colab

.PHONY: results
results: $(READY) ## run the missing runs of a grid, GRID=..., RUNFLAGS=...
	$(BIN)/python -m dropblock_lib.experiments run --grid $(GRID) $(RUNFLAGS)

.PHONY: queue
queue: $(READY) ## run the missing runs of the queue, in order, RUNFLAGS=...
	nice -n 10 $(BIN)/python -m dropblock_lib.experiments run --queue $(RUNFLAGS)

.PHONY: queue-status
queue-status: $(READY) ## show the queue's progress and the hours left
	@$(BIN)/python -m dropblock_lib.experiments status

.PHONY: bench
bench: $(READY) ## measure the layer, training steps and peers, BENCHFLAGS=...
	$(BIN)/python -m benchmarks.run $(BENCHFLAGS)

.PHONY: lint
lint: $(READY) ## check style, types, and that notebooks have no outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify --keep-id $(NOTEBOOKS))
	$(BIN)/python book/setup_cell.py --check

.PHONY: requirements
requirements: $(READY) ## compile requirements.txt from pyproject.toml
	$(BIN)/uv pip compile --universal --fork-strategy fewest \
	  --python-version 3.11 --extra dev --no-annotate \
	  --custom-compile-command "make requirements" \
	  --no-emit-index-url --no-emit-find-links \
	  pyproject.toml -o requirements.txt

.PHONY: clean
clean: ## remove what was built, but not .venv
	rm -rf _build dist .pytest_cache .ruff_cache .hypothesis
