# Every target sets up what it needs. PYTHON must be 3.10 to 3.13, and 3.11 or newer for all but `train`.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

# The tests start hundreds of processes; without it, each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
# Two cores, three workers: one of them often waits for a process that it has started.
PYTEST = $(BIN)/python -m pytest -n 3 --dist worksteal

.PHONY: help setup train test test-fast versions lint bench zoo docs figures clean
help:
	@echo "make train   set up, train the U-Net with --goal=balanced, export, verify, report (some 5 minutes)"
	@echo "make test    set up and pass the tests"
	@echo "make test-fast   a verdict while you work, in 3 minutes: every callback under both Kerases, and all that is quick"
	@echo "make versions   the oldest TensorFlow and Keras, and the most common ones, in environments of their own"
	@echo "make lint    ruff and mypy"
	@echo "make bench   run every benchmark"
	@echo "make zoo     compress and export thirty public architectures, and write docs/zoo.md (an hour)"
	@echo "make docs    build the site of docs/ into site/, and fail on any warning; $(BIN)/mkdocs serve shows it"
	@echo "make figures make the pictures and figures of docs/ anew"

PIP = $(BIN)/pip install --disable-pip-version-check --progress-bar off

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

# The developers' tools; in this environment, and no other, tests/, benchmarks/ and docs/ import from anywhere.
$(VENV)/.developer: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) uv
	$(BIN)/uv pip install -q --python $(BIN)/python -e ".[dev]"  # in half of the time of pip
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth"
	@touch $@

setup: $(VENV)/.developer

train: $(VENV)/.ready
	cd train_unet && ../$(BIN)/python train.py --goal=balanced --overwrite

test: setup
	$(PYTEST)
	TF_USE_LEGACY_KERAS=1 $(PYTEST) tests  # once more with tf.keras = Keras 2

test-fast: setup
	$(PYTEST) --fast
	TF_USE_LEGACY_KERAS=1 $(PYTEST) --fast tests

versions: setup
	nice $(BIN)/python tests/versions/matrix.py --row=2.16.2 --row=2.20+3.13 --keras_3 --check

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

zoo: setup
	$(PIP) -e ".[zoo]"
	$(BIN)/python -m tests.zoo.run

docs: $(VENV)/.ready
	$(PIP) -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

figures: setup
	$(BIN)/python docs/images/make_tensorboard.py
	$(BIN)/python docs/images/make_compression.py
	$(BIN)/python docs/images/make_frontier.py
	$(BIN)/python benchmarks/size_story.py
	$(BIN)/python docs/make_situations.py

clean:
	rm -rf $(VENV) runs site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
