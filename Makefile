# `make test` and `make demo` need Python 3.11 with pip and venv, make and a C compiler; they set up the rest in .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
# Modules are compiled once, whatever the environment says: those of torch take each process five seconds.
unexport PYTHONDONTWRITEBYTECODE
FOLDERS := apps codecs entropy eval kernels
SURFACE := -m fewbits.errors -m fewbits.version -m fewbits.codecs.codec -m fewbits.codecs.media \
	-m fewbits.codecs.progressive -m fewbits.codecs.registry -m fewbits.codecs.files -m fewbits.codecs.image_set -m fewbits.codecs.sound \
	-m fewbits.codecs.sound_source -m fewbits.codecs.sound_track -m fewbits.codecs.colour -m fewbits.codecs.film \
	-m fewbits.codecs.video_source -m fewbits.codecs.video_frame -m fewbits.codecs.video_timing -m fewbits.codecs.video_writer \
	-m fewbits.codecs.kinds -m fewbits.codecs.sources -m fewbits.codecs.suffixes -m fewbits.codecs.simple \
	-p fewbits.codecs.circuit -p fewbits.entropy -p fewbits.eval -p fewbits.apps.cli -p fewbits.apps.batch \
	-p fewbits.apps.gui -p fewbits.apps.site -p fewbits.apps.fuzz -m fewbits.apps.pillow_plugin

.PHONY: help setup demo docs site test test-slow faults fuzz guided matrix supply speed lint lock clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       encode and decode photos, a voice and music; the files land in demo-output/"
	@echo "make docs       the reference of the Python API, in docs/_build/api/"
	@echo "make site       measure codecs of all kinds, on DATA=FOLDER or small samples, and write pages to site/"
	@echo "make test       lint, then the tests (test-slow: the slow tests too)"
	@echo "make faults     kill commands 200 times and look at what becomes of their files; a quarter of an hour"
	@echo "make fuzz       changed files for every codec, MINUTES=5 in all; see docs/fuzzing.md"
	@echo "make guided     the same, guided by coverage, MINUTES=5 in all; needs atheris, see docs/fuzzing.md"
	@echo "make matrix     decode golden files under many settings of libraries and processor"
	@echo "make supply     install the wheel, and each extra, in empty environments, and try what is there; see docs/supply.md"
	@echo "make speed      fewbits bench as ratios to rivals, beside those of earlier commits"
	@echo "make lint       ruff and mypy"
	@echo "make setup      only make .venv"
	@echo "make lock       renew requirements.lock from pyproject.toml"
	@echo "make clean      remove everything that make and the tools made"

setup: $(READY)

# uv installs in a fraction of pip's time. The stamp makes this happen once, and again when what it depends on changes.
$(READY): requirements.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fewbits needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making .venv ..."; $(PYTHON) -m venv .venv; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "Installing the packages of requirements.lock ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(READY)
	@$(BIN)/fewbits demo --output demo-output

docs: $(READY)
	@$(BIN)/python docs/api.py docs/_build/api

# Without real sets, as of the folder beside the checkout, it takes samples that come with the packages.
DATA ?= $(wildcard ../shared/data)
site: $(READY)
	@$(BIN)/python -m fewbits.apps.site site $(DATA)

# Files of tests side by side: two processes, as most tests start threads or processes of their own.
test: lint
	@OMP_NUM_THREADS=1 $(BIN)/pytest --quiet --numprocesses 2 --dist loadfile

test-slow: lint
	@$(BIN)/pytest --quiet -m ""

faults: $(READY)
	@$(BIN)/python tests/apps/kills.py

MINUTES ?= 5
fuzz: $(READY)
	@$(BIN)/python -m fewbits.apps.fuzz tests/golden tests/corpus --minutes $(MINUTES)

guided: $(READY)
	@$(BIN)/python tests/guided.py --minutes $(MINUTES)

matrix: $(READY)
	@$(BIN)/python tests/golden/matrix.py

supply: $(READY)
	@$(BIN)/python tests/supply.py

speed: $(READY)
	@$(BIN)/python docs/speed_history.py

# mypy cannot follow a package whose folders lie elsewhere, so it gets a tree of links that looks like the installed one.
lint: $(READY)
	@$(BIN)/ruff check --quiet --output-format concise .
	@rm -rf .typing && mkdir -p .typing/fewbits
	@ln -s $(CURDIR)/fewbits/* $(addprefix $(CURDIR)/,$(FOLDERS)) .typing/fewbits/
	@cd .typing && ../$(BIN)/mypy --no-error-summary --cache-dir ../.mypy_cache --config-file ../pyproject.toml $(SURFACE)

lock: $(READY)
	@$(BIN)/uv pip compile --quiet --universal --no-annotate --no-header --python-version 3.11 \
		--extra train --extra metrics --extra test --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .typing build dist docs/_build *.egg-info demo-output site fuzz-failures .pytest_cache .mypy_cache .ruff_cache
	find $(FOLDERS) fewbits tests -name __pycache__ -prune -exec rm -rf {} +
