# Everything starts from here: each target makes `.venv` first if it is not there.
#   make demo    install, then one whole run on generated logs: report at demo/run/report.html
#   make test    install, then the tests
#   make soak    the full counts that `make test` has no time for
#   make peers   add TorchRec to .venv (tests of interop and benchmarks against it)
#   make lint    ruff, mypy, import contract
#   make docs    docs/cli.md again, from --help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := requirements/constraints.txt
OS := $(shell uname -s)-$(shell uname -m)
# FBGEMM has a CPU wheel for Linux on x86 only; elsewhere recfold's own `torch` kernel serves.
comma := ,
EXTRAS := $(if $(filter Linux-x86_64,$(OS)),cpu$(comma)dev,dev)

.PHONY: demo test soak lint docs peers install clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "recfold needs Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	@touch $@

demo: install
	$(BIN)/recfold run demo --out demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not soak'

soak: install
	$(BIN)/python -m pytest -q -m soak

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	$(BIN)/python docs/make_cli.py

peers: install
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements/peers.txt

clean:
	rm -rf $(VENV) demo
