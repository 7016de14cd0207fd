# Everything runs in .venv; `make env` makes it, and runs again only when the requirements change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
WORKERS ?= 2
# The weekly run in Colab's versions gives its own.
PINS ?= requirements.txt
EXTRAS ?=
ARGS ?=

# The instructions of an older processor make another one out of this one: sums are then rounded in another order.
PROCESSOR ?= native
NOTEBOOKS ?= notebooks
native :=
avx2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2
sse41 := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE
$(if $(filter native avx2 sse41,$(PROCESSOR)),,$(error PROCESSOR=$(PROCESSOR): give native, avx2 or sse41))

# One thread a worker: printed digits then do not depend on the number of cores.
TEST_ENV := OMP_NUM_THREADS=1 $($(PROCESSOR))

.PHONY: env reason test lint unit long nbval check pages package older colab book print lab bench record notebooks clean help

help:
	@echo "make reason      train a tiny reasoner from random weights (ARGS=... goes to minidsk reason)"
	@echo "make test        everything that CI runs (PROCESSOR=avx2 or sse41: with the instructions of an older processor)"
	@echo "make colab       all notebooks from the wheel, outside the checkout, in Colab's versions (ARGS='--env DIR' keeps them)"
	@echo "make env         the environment alone, in .venv"
	@echo "make book        the book, in _build/html"
	@echo "make print       the whole book as one PDF, in _build/minidsk.pdf"
	@echo "make lab         JupyterLab on the notebooks"
	@echo "make bench       speed of this machine, side by side: the model's ways, then kernels (ARGS=... to minidsk bench)"
	@echo "make record      what the recorded runs cost and reached, and yours beside them (ARGS=runs/NAME ...)"
	@echo "make notebooks   execute notebooks (NAMES='01_text_and_tokens ...', all by default)"
	@echo "make lint | unit | nbval | older | check | pages | package    the parts of make test"
	@echo "make long        tests that take long and seldom fail"
	@echo "make clean       what can be built again; .venv and runs/ stay"

env: $(STAMP)

$(STAMP): $(PINS) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -r $(PINS) -e '.$(EXTRAS)'
	$(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true # pip would on one core; some files are templates
	touch $@

reason: env
	$(BIN)/minidsk reason $(ARGS)

# Beside the suite, which times nothing, runs what needs one core, such as the book's build. Chapters time what they
# show, and browsers wait for pages, so they have the machine to themselves. (On an older processor, what models print
# matters, and no time.)
BESIDE := --jobs=2 --no-print-directory $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

test: env
	$(MAKE) nbval
	$(MAKE) $(BESIDE) unit lint book check
	$(MAKE) pages BOOK=
	$(MAKE) $(BESIDE) package older

lint: env
	$(BIN)/ruff check .
	$(BIN)/mypy

# The suite tests the wheel, from a folder away from the checkout: what the wheel lacks, or is only found here, fails.
unit: env
	rm -rf build && mkdir -p build/away
	$(BIN)/python -m build --wheel --no-isolation --outdir build . >build/log 2>&1 || (cat build/log; false)
	$(BIN)/python -m zipfile -e build/minidsk-*.whl build/wheel
	cd build/away && PYTHONPATH=$(CURDIR)/build/wheel $(TEST_ENV) PACKAGE=$(CURDIR)/build/wheel/minidsk \
		$(CURDIR)/$(BIN)/pytest -c $(CURDIR)/pyproject.toml -n $(WORKERS) -m "not slow" $(CURDIR)/tests \
		--ignore=$(CURDIR)/tests/book

nbval: env
	PYTHONPATH=tools $(TEST_ENV) $(BIN)/pytest -p nbval_plugin --nbval --nbval-current-env \
		--nbval-sanitize-with=tests/nbval.cfg --nbval-cell-timeout=120 -n $(WORKERS) --dist loadfile $(NOTEBOOKS)

# What trained models print holds on another processor too; the workflow asks this of all chapters.
older: env
	$(MAKE) nbval PROCESSOR=avx2 NOTEBOOKS="notebooks/12_grpo.ipynb notebooks/22_capstone.ipynb"

check: env
	$(BIN)/python tools/notebooks.py check

BOOK := book
pages: $(BOOK)
	$(TEST_ENV) $(BIN)/pytest -n $(WORKERS) -m "not slow" tests/book

# What takes long and seldom fails: not part of make test either; the workflow runs it.
long: book
	$(TEST_ENV) $(BIN)/pytest -n $(WORKERS) --dist loadgroup -m slow tests --ignore=tests/test_packaging.py

package: env
	$(TEST_ENV) $(BIN)/pytest -m slow tests/test_packaging.py

# Not part of make test: it installs gigabytes. The weekly run calls it.
colab: env
	$(BIN)/python tools/colab.py --workers $(WORKERS) $(ARGS)

book: env
	$(BIN)/jupyter-book build . -W -n --keep-going

print: env
	$(BIN)/python tools/print_book.py

lab: env
	cd notebooks && ../$(BIN)/jupyter lab

bench: env
	$(BIN)/python tools/bench_model.py
	$(BIN)/minidsk bench kernels $(ARGS)

record: env
	$(BIN)/python tools/record_table.py $(ARGS)

notebooks: env
	$(BIN)/python tools/notebooks.py execute $(NAMES)

clean:
	rm -rf _build dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
