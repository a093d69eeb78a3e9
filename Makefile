# Two commands for a fresh machine: `make demo` and `make test`. Everything else is for working on HashGrain.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python -m
PIP := $(RUN) pip install --quiet --disable-pip-version-check
# First what is listed with its SHA-256, then HashGrain itself, for which nothing is left to fetch but torch (see
# scripts/lock.py). The environment's own setuptools builds it: one that pip would fetch for that is checked by nobody.
LISTED := $(PIP) --no-deps --require-hashes
ITSELF := $(PIP) --no-build-isolation -c constraints.txt
# Tests write tens of thousands of small files: into memory, where the system keeps a folder there with 6 GB to spare.
SCRATCH := $(or $(TMPDIR),$(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 6000000 {print "/dev/shm"}'))
# COVERAGE=1 notes which lines of src run, in every process; `make coverage` reports what such runs noted.
PYTEST := $(if $(SCRATCH),TMPDIR=$(SCRATCH) )$(RUN) $(if $(COVERAGE),coverage run -m )pytest
SOURCES := pyproject.toml setup.py constraints.txt $(wildcard requirements/*) $(wildcard src/hashgrain/hamming/kernels/*)
export HASHGRAIN_DATA ?= ../shared/data
# Where the environment forbids it, every one of the thousands of commands that tests start would compile HashGrain anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-quick test-train coverage drills check format bench model model-small words docs dist sbom clean

# The photographs of HASHGRAIN_DATA where there are any; without them, pictures are drawn.
PHOTOS ?= $(wildcard $(HASHGRAIN_DATA)/photos)
demo: $(VENV)/.core  ## build a small library, search it, write a page (PHOTOS=~/Pictures for your own)
	$(RUN) hashgrain demo $(if $(PHOTOS),--photos "$(PHOTOS)")

test: $(VENV)/.dev  ## every test but those that train a network
	OMP_NUM_THREADS=1 $(PYTEST) -n auto --dist worksteal -m "not train and not dist"

test-quick: $(VENV)/.dev  ## what to run while working
	OMP_NUM_THREADS=1 $(PYTEST) -n auto --dist worksteal -m "not slow and not train and not dist"

test-train: $(VENV)/.train  ## the tests that train a network; takes torch
	OMP_NUM_THREADS=1 $(PYTEST) -n auto --dist worksteal -m train

coverage: $(VENV)/.dev  ## the lines of src without learn/ that `make test COVERAGE=1` did not run; fails under the floor
	$(RUN) coverage combine --quiet
	$(RUN) coverage report --skip-covered

drills: $(VENV)/.dev  ## the long drills: kills, failing calls, power cuts, flipped bits, hostile input (half an hour)
	$(VENV)/bin/python benchmarks/drills.py

check: $(VENV)/.train  ## style and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) mypy --config-file tests/mypy.ini --cache-dir .mypy_cache/tests tests scripts

format: $(VENV)/.dev
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: $(VENV)/.train $(VENV)/.bench  ## most figures in benchmarks/RESULTS.md
	$(VENV)/bin/python benchmarks/run_all.py

# On one thread, since sums of floats depend on how many share them, and with them some bits of the head.
model: $(VENV)/.train  ## make the default model anew: its head, its part of the graph, its calibration
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) hashgrain train --data "$(HASHGRAIN_DATA)" --recipe photo --out runs/photo-model
	cp runs/photo-model/model.json runs/photo-model/graph.part runs/photo-model/graph.json src/hashgrain/models/photo/

model-small: $(VENV)/.train  ## train the small model anew, from random weights
	$(RUN) hashgrain train --data "$(HASHGRAIN_DATA)/tiny-imagenet-200" --recipe default --out runs/default-model
	$(RUN) hashgrain shrink runs/default-model --int8 --pictures "$(HASHGRAIN_DATA)/tiny-imagenet-200" --out src/hashgrain/models/small

words: $(VENV)/.train  ## make the dictionary of searching by words anew (WORDNET=the folder of WordNet 3.0's files)
	$(VENV)/bin/python scripts/make_words.py "$(WORDNET)"

docs: $(VENV)/.docs  ## the documentation, into site/
	$(RUN) mkdocs build --strict

# As a release is built: the source archive from the checkout, the wheel from the source archive.
dist: $(VENV)/.dev  ## the source archive and the wheel, into dist/; each is tried in an empty environment
	rm -rf dist/*.tar.gz dist/*.whl
	$(VENV)/bin/python -c "from setuptools.build_meta import build_sdist; build_sdist('dist')" >/dev/null
	$(RUN) pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir dist dist/hashgrain-*.tar.gz
	$(RUN) pytest -m dist tests/test_packages.py

sbom: $(VENV)/.core  ## a software bill of materials of what a user gets, dist/sbom.json (CycloneDX)
	@mkdir -p dist
	$(VENV)/bin/python scripts/sbom.py dist/sbom.json

clean:
	rm -rf .coverage .coverage.* $(VENV) build dist site demo runs .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# What `make test-train`, `make check`, `make docs` and `make dist` take, without HashGrain itself, which is built in its
# own folder: nothing that runs there is touched, so this may go on beside the tests of another environment.
$(VENV)/.fetched: $(VENV)/bin/python $(SOURCES)
	$(LISTED) $(patsubst %,-r requirements/%.txt,build core dev train docs)
	$(PIP) -c constraints.txt torch torchvision
	@touch $@

$(VENV)/.core: $(VENV)/bin/python $(SOURCES)
	$(LISTED) -r requirements/build.txt -r requirements/core.txt
	$(ITSELF) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(LISTED) -r requirements/dev.txt
	$(ITSELF) -e ".[dev]"
	@touch $@

$(VENV)/.train: $(VENV)/.dev
	$(LISTED) -r requirements/train.txt
	$(ITSELF) -e ".[keras,openclip]"
	@touch $@

$(VENV)/.bench: $(VENV)/.core
	$(LISTED) -r requirements/bench.txt
	$(ITSELF) -e ".[bench]"
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(LISTED) -r requirements/docs.txt
	$(ITSELF) -e ".[docs]"
	@touch $@
