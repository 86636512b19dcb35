# Everything that can be done with this folder. `make` alone lists it.
#
#   PYTHON    the Python (3.11 or newer) that .venv is made from
#   CHAPTER   one chapter for `make notebooks`, e.g. CHAPTER=01_what_a_section_is

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
HTML := _build/html

# Real sections and encoder weights, where they lie beside this folder.
ifneq ($(wildcard ../shared/data),)
export STLEARNKIT_DATA ?= $(abspath ../shared/data)
endif
ifneq ($(wildcard ../shared/weights),)
export STLEARNKIT_WEIGHTS ?= $(abspath ../shared/weights)
endif

# A package index that pip was told of serves uv too.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export UV_HTTP_TIMEOUT ?= 300

.PHONY: help setup test lint types contracts unit chapters book pages colab notebooks solutions assignments nbgrader constraints clean

help:
	@echo "make book         render the book, print the path of its start page"
	@echo "make test         lint, types, import contracts, unit tests, book, notebooks"
	@echo "make pages        render, then look at every page in a browser: links, errors, access"
	@echo "make notebooks    execute the chapters into their .ipynb (CHAPTER=... for one)"
	@echo "make solutions    run the exercises' solutions (CHAPTER=... for one)"
	@echo "make colab        run the chapters with what Colab brings along (CHAPTER=... for one)"
	@echo "make assignments  release the problem sets from their sources"
	@echo "make nbgrader     send the problem sets through nbgrader, borrowed for one run"
	@echo "make constraints  solve the exact versions afresh"
	@echo "make clean        remove what was built, keep $(VENV)"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet uv
	VIRTUAL_ENV=$(VENV) $(RUN)/uv pip install --constraint constraints.txt --editable '.[dev]'
	touch $@

test: lint types contracts unit book chapters

lint: $(READY)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(READY)
	$(RUN)/mypy

contracts: $(READY)
	$(RUN)/lint-imports

# Two files, or two notebooks, at a time, one core each.
unit: $(READY)
	OMP_NUM_THREADS=1 $(RUN)/pytest -n 2 --dist loadfile

chapters: $(READY)
	OMP_NUM_THREADS=1 $(RUN)/pytest -c book/pytest.ini book/chapters

# From clean pages, so that a warning shows each time and no old page stays.
book: $(READY)
	rm -rf $(HTML) _build/.doctrees
	$(RUN)/jupyter-book build . -W -n --keep-going
	$(RUN)/python book/check_pages.py --links
	@echo "Start page: $(abspath $(HTML)/index.html)"

# Needs Chromium or Chrome.
pages: book
	VIRTUAL_ENV=$(VENV) $(RUN)/uv pip install --quiet --constraint constraints.txt --editable '.[pages]'
	$(RUN)/python book/check_pages.py

# Needs as much disk again as $(VENV), and half an hour.
colab: $(READY)
	$(RUN)/python book/emulate_colab.py $(CHAPTER)

notebooks: $(READY)
	$(RUN)/python book/make_notebooks.py $(CHAPTER)

solutions: $(READY)
	$(RUN)/python book/run_solutions.py $(CHAPTER)

assignments: $(READY)
	$(RUN)/python -m stlearnkit.course release book/assignments/ps*.md --checks stlearnkit/course/sheets

nbgrader: $(READY)
	VIRTUAL_ENV=$(VENV) UV_CONSTRAINT=constraints.txt $(RUN)/uv run --no-project --with nbgrader \
	  python .ci/nbgrader_round_trip.py

# The comment on top of the file is kept, every version below it is chosen anew.
constraints: $(READY)
	{ sed -n '/^#/p' constraints.txt; \
	  $(RUN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	    --fork-strategy fewest --no-header --no-annotate --no-emit-index-url; \
	} > constraints.part
	mv constraints.part constraints.txt

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
