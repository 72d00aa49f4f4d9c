# Needs Python 3.11 or newer and make; everything else is put into .venv.
#
#   make demo    the founding bug, seen and then not seen, on real processes
#   make test    every test
#   make lint    every checker of style, types and imports
#   make bench   the measurements, as ratios to a floor
#   make soak    ten minutes of random scenarios and faults against what is promised
#   make image   a container image of the wheel, for docker-compose.yml
#   make setup   .venv alone
#   make lock    choose new versions of the tools and write them down
#   make clean   remove all that these made

PYTHON ?= python3
PYTEST_ARGS ?=
WORKERS ?= 2

BIN := .venv/bin
READY := .venv/ready
BASE ?= python:3.11-slim-bookworm
IMAGE ?= shootdown
IMAGE_PYTHON ?= 3.11
ROOMS := protocol engine daemon device_agent verify cli
SCENARIO := configs/scenarios/cow-two-pages.litmus

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench soak image lock clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

# Built anew when what is to be installed changes; else this costs one comparison of dates.
# uv is several times quicker than pip but does not read pip's settings, so pip stands in for it
# where only pip knows the way to an index. All is compiled here: where PYTHONDONTWRITEBYTECODE is set
# each process would compile it anew, which takes longer than a testbed takes to start.
$(READY): pyproject.toml requirements-dev.lock hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "shootdown needs Python 3.11 or newer; name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ echo "no venv: on Debian and Ubuntu it is a package of its own, python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements-dev.lock uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements-dev.lock || \
		$(BIN)/python -m pip install --quiet --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q $(ROOMS)
	@touch $@

# $(call expect,STATUS,COMMAND): run COMMAND, and fail unless it exits with exactly STATUS.
define expect
	@echo '$$ $(2)'; status=0; $(2) || status=$$?; \
	if [ $$status -ne $(1) ]; then echo "expected exit status $(1), got $$status" >&2; exit 1; fi
endef

demo: setup
	$(call expect,1,$(BIN)/shootdown run $(SCENARIO) --discipline range_end)
	$(call expect,0,$(BIN)/shootdown run $(SCENARIO) --discipline clear_flush)
	@echo
	@echo "Told only at range_end, a device went on reading an old page after another device had seen a"
	@echo "newer write; told between clear and set, under the page table lock, no device did."

soak: setup
	$(BIN)/shootdown soak --minutes 10 --seed 1

# A file of tests stays together, for its tests share what was dear to make. WORKERS=0 is for a debugger.
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

# All of them run, whatever the first one says.
lint: setup
	@failed=0; \
	check() { echo "== $$*"; "$$@" || failed=1; }; \
	check $(BIN)/ruff check; \
	check $(BIN)/ruff format --check; \
	check $(BIN)/mypy; \
	check env PYRIGHT_PYTHON_GLOBAL_NODE=0 $(BIN)/pyright --pythonpath $(BIN)/python; \
	check $(BIN)/lint-imports; \
	exit $$failed

bench: setup
	$(BIN)/python -m benchmarks

# The wheels are fetched here, so that the image is built without a network. IMAGE_PYTHON is the
# version of Python in BASE; BASE must have pip, too (.ci/engine makes one that can be used).
image: setup
	rm -rf build/image
	$(BIN)/python -m hatchling build --target wheel --directory build/image
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --dest build/image \
		--python-version $(IMAGE_PYTHON) --only-binary=:all: --constraint requirements-dev.lock \
		build/image/*.whl
	docker build --quiet --build-arg BASE=$(BASE) --tag $(IMAGE) .

# Names and versions only: where packages come from is a matter of the machine.
lock: setup
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url --group dev --output-file requirements-dev.lock pyproject.toml

clean:
	rm -rf .venv build dist out .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
