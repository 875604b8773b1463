# make quickstart   install, then train and score TranBlend with and without text on a generated data set
# make test         install, then run every test
# make lint         style and types
.PHONY: install quickstart test lint lock

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   := 2   # test processes, one thread each
STAMP  := $(VENV)/.installed

install: $(STAMP)

# Hashes of the lock file are checked; uv is the fast way, pip the way that is always there.
$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $$(command -v $(PYTHON) || command -v python3) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv || true
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
	  || $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps -e . \
	  || $(BIN)/python -m pip install --quiet --no-deps -e .
	touch $(STAMP)

quickstart: install
	$(BIN)/python -m saltext.run +experiment=quickstart
	$(BIN)/python -m saltext.reporting.collect outputs/quickstart

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock:
	$(BIN)/python -m uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --generate-hashes \
	  --no-emit-index-url --no-header --quiet -o requirements.lock
