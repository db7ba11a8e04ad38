# The same commands everywhere: here, on a colleague's machine, in CI.
PYTHON ?= $(firstword $(foreach p,python3.11 python3,$(shell command -v $(p) 2>/dev/null)))
BIN := .venv/bin
CODE := ingest encoder search workers tests examples benchmarks scripts

.PHONY: demo test test-milvus check format bundle bench-throughput bench-ingest bench-quant bench-dsre fault-rounds clean

# From nothing to cross-modal hits: installs, fetches the offline model, ingests, searches.
demo: .venv/installed
	$(BIN)/anymodal bundle fetch
	$(BIN)/python -m examples.demo

# Everything that CI checks.
test: check bundle
	$(BIN)/pytest
	$(MAKE) test-milvus

# The tests that need the genuine Milvus server, which has an environment of its own.
test-milvus: .venv/tested bundle .venv-milvus/installed
	$(BIN)/pytest -m milvus

check: .venv/tested
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/tested
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

# Figures for benchmarks/RESULTS.md.
bench-throughput: .venv/installed
	$(BIN)/python -m benchmarks.throughput

bench-ingest: .venv/installed
	$(BIN)/python -m benchmarks.ingest

# Beside others' libraries, which live in an environment of their own.
bench-quant: .venv-bench/installed
	.venv-bench/bin/anymodal bundle fetch
	.venv-bench/bin/python -m benchmarks.quant

# Jobs with kill -9 in their middle: 20 rounds of 300 files; with MILVUS=server on a genuine one.
MILVUS ?= lite
fault-rounds: .venv/tested $(if $(filter server,$(MILVUS)),.venv-milvus/installed)
	$(BIN)/python -m tests.faults.rounds 20 300 $(MILVUS)

bench-dsre: .venv/installed
	$(BIN)/python -m benchmarks.dsre

bundle: .venv/installed
	$(BIN)/anymodal bundle fetch

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

.venv-bench/installed: pyproject.toml
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --upgrade pip
	.venv-bench/bin/python -m pip install --quiet --editable . --group bench-quant
	touch $@

.venv-milvus/installed: Makefile
	test -x .venv-milvus/bin/python || $(PYTHON) -m venv .venv-milvus
	.venv-milvus/bin/python -m pip install --quiet milvus==2.3.5
	touch $@

clean:
	rm -rf .venv .venv-bench .venv-milvus .demo dist
