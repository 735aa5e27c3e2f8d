# What a developer types. `make help` lists it. Each target sets up what it needs, on a fresh Debian machine too.
PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
FUZZ_SECONDS ?= 20
SOURCES = $(shell find hupfast csrc -name '*.py' -o -name '*.pyi' -o -name '*.toml' -o -name '*.css' -o -name '*.[ch]' -o -name '*.map') \
	build_ffi.py meson.build meson.options pyproject.toml
C_FILES = $(wildcard csrc/*.[ch] csrc/examples/*.c tests/c/*.[ch] tests/fuzz/*.[ch] tests/shim/*.c benchmarks/*.c)
MESON = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/meson
SAN_OPTIONS = ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

.PHONY: help demo test boot-test asan tsan fuzz bench bench-stages bench-compare lint format wheel dev clean
help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

demo: $(VENV)/installed ## Update a virtual board with a real root filesystem, without root
	@.ci/packages demo
	$(BIN)/hupfast demo

test: $(VENV)/installed ## Run the C tests and the Python tests
	@.ci/packages build test boot bench
	@$(MESON) setup --reconfigure build/test -Dpython=false >/dev/null
	$(MESON) test -C build/test --print-errorlogs
	$(BIN)/pytest

boot-test: $(VENV)/installed ## Boot all real boards in QEMU (`test` boots the fastest)
	@.ci/packages build boot
	$(BIN)/pytest -m "" tests/boot

asan: $(VENV)/installed ## Run both under AddressSanitizer and UndefinedBehaviorSanitizer
	@.ci/packages build test
	@$(MESON) setup --reconfigure build/asan -Db_sanitize=address,undefined -Db_lundef=false \
		-Dpython.platlibdir=/site -Dpython.purelibdir=/site >/dev/null
	$(SAN_OPTIONS) $(MESON) test -C build/asan --print-errorlogs
	@DESTDIR=$(CURDIR)/build/asan/destdir $(MESON) install -C build/asan --quiet
	$(SAN_OPTIONS) PYTHONPATH=$(CURDIR)/build/asan/destdir/site HUPFAST_SANITIZED=1 \
		LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" $(BIN)/pytest -s -p no:cacheprovider

tsan: $(VENV)/tools ## Run the C tests under ThreadSanitizer
	@$(MESON) setup --reconfigure build/tsan -Dpython=false -Db_sanitize=thread -Db_lundef=false >/dev/null
	TSAN_OPTIONS=halt_on_error=1 $(MESON) test -C build/tsan --print-errorlogs

fuzz: $(VENV)/installed ## Fuzz every parser and the decoders with libFuzzer, FUZZ_SECONDS each
	@.ci/packages fuzz
	@CC=clang $(MESON) setup --reconfigure build/fuzz -Dpython=false -Dfuzzer=true -Db_sanitize=address,undefined \
		-Db_lundef=false >/dev/null
	for name in probe table decode key; do \
		$(MESON) compile -C build/fuzz fuzz_$$name >/dev/null && mkdir -p build/corpus/$$name && \
		build/fuzz/tests/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -verbosity=0 \
			-print_final_stats=1 build/corpus/$$name tests/fuzz/corpus/$$name || exit 1; \
	done
	@$(BIN)/pip install -q --disable-pip-version-check --group fuzz && mkdir -p build/corpus/bundle
	$(BIN)/python tests/fuzz/fuzz_bundle.py -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -verbosity=0 \
		-print_final_stats=1 build/corpus/bundle tests/fuzz/corpus/bundle

bench: bench-stages ## Time the stages, then hupfast beside its peers (root; about 40 minutes, 10 with ARGS=--no-card)
	@.ci/packages peers
	$(BIN)/python -m benchmarks $(ARGS)

bench-stages: $(VENV)/installed ## Time each stage and the whole, and save that under the commit's name
	@.ci/packages bench
	$(BIN)/pytest benchmarks --benchmark-autosave --benchmark-columns=min,median,max,rounds

bench-compare: $(VENV)/installed ## Time the stages of this tree and of BASE=COMMIT in turns (8 minutes); an error when slower
	@.ci/packages bench
	$(BIN)/python -m benchmarks.compare $(ARGS) $(BASE)

lint: $(VENV)/tools ## Check style and types
	@.ci/packages lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	clang-format --dry-run -Werror $(C_FILES)

format: $(VENV)/tools ## Bring all files into the style
	@.ci/packages lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	clang-format -i $(C_FILES)

wheel: $(VENV)/tools ## Build a wheel into dist/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip wheel -q --no-deps --no-build-isolation -Cinstall-args=--strip -w dist .
	@ls dist/*.whl

dev: $(VENV)/tools ## Install hupfast for editing instead: C is rebuilt at import
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install -q --no-build-isolation --config-settings=build-dir=build/dev -e .

clean: ## Remove all that was built
	rm -rf build dist $(VENV)

$(VENV)/tools: pyproject.toml .ci/packages
	@.ci/packages build
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hupfast needs Python 3.11 or later: make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/pip install -q --disable-pip-version-check --group dev
	@touch $@

# A plain install, not an editable one: it is what a board gets, and what memory is measured of.
$(VENV)/installed: $(VENV)/tools $(SOURCES)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install -q --disable-pip-version-check --no-build-isolation \
		-Cbuild-dir=build/install -Cinstall-args=--strip .
	@touch $@
