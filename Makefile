# make setup   a virtual environment with everything installed, and the pretrained weights
# make lab     the same, then JupyterLab on the first notebook
# make test    the same, then every test
# make demo    the explorer as a page without code, on 127.0.0.1
# make release notebooks/ anew from solutions/
# make bench   what is fast, as ratios
# make studio  the studio's notebooks in full, their results kept
# make grade-demo   a class of students graded: expected and given marks
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
FIRST := notebooks/00_start_here/00_start_here.ipynb
# Jupyter does not start as root unless told to; in a container there is often nobody else.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)

.PHONY: setup lab test banks lint release studio grade-demo bench weights browser clean
.DEFAULT_GOAL := setup

setup: $(VENV)/installed weights

# Some systems ship Python without ensurepip: there the environment gets its pip from python3's own.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; choose one with: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(PY) install --quiet pip; }

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing (PyTorch is large: a minute or a few, once) ..."
	@$(PY) -m pip install --quiet --editable ".[test]"
	@touch $@

# Without weights everything but real pictures still works, so a set-up that cannot fetch them goes on.
weights: $(VENV)/installed
	@$(PY) -m nst_helpers.weights || echo "Going on without pretrained weights."

browser: $(VENV)/installed
	@$(PY) tests/browser/chromium.py

lab: setup
	@# As the address, not as an argument: then the whole course is in the list of files.
	$(PY) -m jupyter lab $(AS_ROOT) --LabApp.default_url=/lab/tree/$(FIRST) --LabApp.news_url=None $(LAB_OPTIONS)

.PHONY: demo
demo: setup
	@$(PY) -c "import voila" 2>/dev/null || $(PY) -m pip install --quiet --editable ".[voila]"
	$(PY) -m nst_helpers.explorer.demo $(DEMO_OPTIONS)

test: setup browser
	@# Two workers on two cores: more threads than cores only wait for each other. Files with few
	@# tests, such as those of browsers, are the slow ones, and would come last if they were sorted.
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --nbval-lax tests solutions notebooks $(PYTEST_OPTIONS)

# Measures the checker against its banks of answers, as often as its promises are made for (hours).
banks: $(VENV)/installed
	NST_BANK_DRAWS=200:50 OMP_NUM_THREADS=1 $(PY) -m pytest tests/checker/test_banks.py -k answer

lint: $(VENV)/installed
	$(PY) -m ruff check
	$(PY) -m ruff format --check

release: $(VENV)/installed
	@for lesson in solutions/*/; do \
	  $(PY) -m nbgrader generate_assignment --force --no-db "$$(basename "$$lesson")" || exit 1; \
	done

# The studio's notebooks in full (an hour or so), their results kept beside them.
studio: $(VENV)/installed
	$(PY) -m benchmarks.studio
	$(MAKE) release

# A class made by a script, honest and hostile, graded as an instructor would.
grade-demo: $(VENV)/installed
	OMP_NUM_THREADS=1 $(PY) -m tests.class.demo

bench: $(VENV)/installed
	$(PY) -m benchmarks.checker
	$(PY) -m benchmarks.grading
	$(PY) -m benchmarks.feedforward
	$(PY) -m benchmarks.explorer
	$(PY) -m benchmarks.engine

clean:
	rm -rf $(VENV) .course .pytest_cache .ruff_cache
