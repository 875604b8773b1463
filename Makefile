# make quickstart   install, then train and score TranBlend with and without text on a generated data set
# make test         install, then run every test
# make test-faults  200 runs that are killed, or whose disk is full, in the middle of every kind of write (FAULTS=60: fewer)
# make lint         style and types
# make docs         the documentation, into build/docs: open build/docs/index.html, no server is needed
# make demo         install, then a page in your browser: RUN=folder of a trained run, ARGS=any argument of saltext demo
# make notebooks    install, then JupyterLab (which it installs besides) in your browser, at notebooks/ (ARGS=--no-browser)
# make reproduce-table2   the papers' tables and figures beside ours: -table2, -fig2 ... -fig7, -salgan; our own: -embedded, -aligned; -all. Says what is missing,
#                      runs or resumes what it needs, and writes outputs/reproduce/.
#                      PRESET=smoke|embedded|paper (embedded), DATA=folder of SJTU-TIS, ARGS=any override, as in
#                      make reproduce-fig6 DATA=/data/sjtu-tis ARGS="protocol=standard seed=0,1,2"
# make signatures   what Lightning's, torch's and W&B's classes take, for the check of configurations: after one of them was updated
# make bench-metrics   speed of the metrics next to pysaliency and scikit-learn (ARGS=--quick: shorter)
# make bench-train     speed of training steps next to the authors' way of it, a quarter of an hour (ARGS=--quick: tiny networks)
# make bench-start     CPU time of commands in units of importing torch (ARGS="--rounds 1 --only predict": less)
# make bench-run       the default run, and a fold with and without text, next to an earlier commit (ARGS=--quick: tiny)
# make bench-before  speed of scoring, decoding and predicting next to an earlier commit (ARGS="--only scoring")
.PHONY: install oracle quickstart test test-faults lint docs demo notebooks signatures lock bench-metrics bench-train bench-start bench-run bench-before

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
PRESET := embedded
FAULTS := 200
UV     := uv==0.13.9   # what wrote the lock files
JOBS   := 2   # test processes, one thread each; what they keep of freed memory would grow to 16 GB
TESTED := OMP_NUM_THREADS=1 GOMP_SPINCOUNT=10000
STAMP  := $(VENV)/.installed
ORACLE := $(VENV)/.oracle

install: $(STAMP)

# The lock file is complete, and its hashes are checked; uv is the fast way, pip the way that is always there.
$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $$(command -v $(PYTHON) || command -v python3) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(UV) || true
	$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements.lock \
	  || $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps -e . \
	  || $(BIN)/python -m pip install --quiet --no-deps -e .
	touch $(STAMP)

# Built from source: where that fails, its tests are skipped and say so.
oracle: $(ORACLE)
$(ORACLE): $(STAMP) requirements-oracle.lock
	$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements-oracle.lock \
	  || $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-oracle.lock \
	  || echo "pysaliency could not be built (it needs a C compiler); tests against it will be skipped"
	touch $(ORACLE)

quickstart: install
	$(BIN)/python -m saltext.run +experiment=quickstart

test: install oracle
	$(TESTED) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-faults: install
	$(TESTED) SALTEXT_FAULTS=$(FAULTS) $(BIN)/python -m pytest tests/faults -k many

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install
	$(BIN)/python -m sphinx --builder html --fresh-env --fail-on-warning --keep-going --quiet docs build/docs
	@echo "build/docs/index.html"

demo: install
	$(BIN)/saltext demo $(if $(RUN),"$(RUN)") $(ARGS)

# JupyterLab is not in the lock file: the suite does without, and any version opens notebooks.
notebooks: install
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python jupyterlab \
	  || $(BIN)/python -m pip install --quiet jupyterlab
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks $(ARGS)

# A name that is no study is answered with those that are.
reproduce-aligned: PRESET := aligned
reproduce-%: install
	$(BIN)/saltext reproduce $* preset=$(PRESET) $(if $(DATA),"data.root=$(DATA)") $(ARGS)

signatures: install
	$(BIN)/python -m tests.third_party_signatures

lock:
	$(BIN)/python -m uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --generate-hashes \
	  --no-emit-index-url --no-header --quiet -o requirements.lock
	$(BIN)/python -m uv pip compile --group oracle --constraint requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet -o requirements-oracle.lock

bench-metrics: install oracle
	$(BIN)/python -m tests.benchmarks.metrics $(ARGS)

bench-train: install
	$(BIN)/python -m tests.benchmarks.training $(ARGS)

bench-start: install
	$(BIN)/python -m tests.benchmarks.start $(ARGS)

bench-run: install
	$(BIN)/python -m tests.benchmarks.default_run $(ARGS)

bench-before: install
	$(BIN)/python -m tests.benchmarks.before $(ARGS)
