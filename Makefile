# Every target makes .venv itself when it is missing, from nothing but python3 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := aesthetic_embeddings base clip demo evaluate export generate images net pipeline recipes studio
# one thread for torch in each of pytest's processes: more would wait for one another
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
# files in the order of tests/conftest.py, the long ones first
PYTEST := pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help demo studio test test-slow coverage fuzz interop comfyui real lint types format docs images bench evidence evidence-models clean
help:
	@echo "make demo    the whole job on a small drawn world, offline"
	@echo "make studio  the page on which you see and curate tastes, offline (the demo first, if it is not there)"
	@echo "make test    the tests (test-slow: the long ones too; coverage: with what they cover)"
	@echo "make fuzz    mutated inputs of every kind, counted (VISUNEX_FUZZ=5000 of each)"
	@echo "make lint    format, lint, types, import layers"
	@echo "make interop clip-retrieval and img2dataset themselves read our files, and we theirs"
	@echo "make comfyui its nodes on ComfyUI itself (COMFYUI=/path/to/ComfyUI COMFYUI_PYTHON=its python)"
	@echo "make images  the README's picture of a page, from the demo (needs Debian's chromium)"
	@echo "make real    with real weights and a GPU: one report to send back (REAL=\"--family sd1\": these)"
	@echo "make docs    docs/cli.md, docs/sources.md and a table in docs/recipes.md, from the code"
	@echo "make evidence  does it work: docs/evidence.md, drawn and measured on the drawn world"
	@echo "make evidence-models  the tiny models trained on looks that no caption names, which evidence then asks too"
	@echo "make bench   the benchmarks, into docs/benchmarks.md (ONLY=\"steer filter\": these)"

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[datasets]" --group dev
	touch $@

DEMO := runs/demo_flower
demo: $(VENV)/.installed
	$(BIN)/visunex-data run demo_flower --run $(DEMO)
	$(BIN)/visunex-generate --recipe demo_flower --aesthetic_embedding $(DEMO)/embedding.pt \
		--sweep-steps 0,5,10,20 --n_samples 4 --skip_save --outdir $(DEMO)/pictures
	@echo "The page of it all, pictures included:"
	$(BIN)/visunex-data show $(DEMO)

studio: $(VENV)/.installed
	test -e $(DEMO)/embedding.pt || $(MAKE) --no-print-directory demo
	$(BIN)/visunex-studio

test: $(VENV)/.installed
	$(TEST_ENV) $(BIN)/python -m $(PYTEST) -m "not slow"

# a target of its own: counting lines takes a third to two thirds of the tests' time on top
coverage: $(VENV)/.installed
	rm -f .coverage .coverage.*
	$(TEST_ENV) $(BIN)/python -m coverage run -m $(PYTEST) -m "not slow"
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

test-slow: $(VENV)/.installed
	$(TEST_ENV) $(BIN)/python -m pytest --durations=10

VISUNEX_FUZZ ?= 5000
fuzz: $(VENV)/.installed
	PYTHONPATH=tests/support $(TEST_ENV) $(BIN)/python -m fuzz --count $(VISUNEX_FUZZ) --keep fuzz-failures

# mypy does not see through the editable install's hook, so it is shown the packages under their names.
.types: Makefile
	mkdir -p .types/visunex
	for package in $(PACKAGES); do ln -sfn ../../$$package .types/visunex/$$package; done
	touch $@

lint: $(VENV)/.installed .types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory types
	$(BIN)/lint-imports

types: $(VENV)/.installed .types
	$(BIN)/mypy $(PACKAGES:%=-p visunex.%)

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

images: demo
	$(BIN)/python tests/support/readme_images.py $(DEMO)

docs: $(VENV)/.installed
	$(BIN)/python tests/support/generated_docs.py

# clip-retrieval and img2dataset themselves, older libraries and all, in an environment of their own (7 GB).
.interop/.installed:
	$(PYTHON) -m venv .interop
	.interop/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.interop/bin/python -m pip install --quiet "clip-retrieval==2.45.0" "numpy<2" "pyarrow<16" "setuptools<81"
	touch $@

interop: $(VENV)/.installed .interop/.installed
	$(TEST_ENV) $(BIN)/python tests/interop.py

# in the Python that runs that ComfyUI, with VisuNex and its group dev installed
COMFYUI_PYTHON ?= $(BIN)/python
comfyui:
	@test -e "$(COMFYUI)/comfy/sd.py" || { echo "name a checkout of ComfyUI: make comfyui COMFYUI=/path/to/ComfyUI"; exit 2; }
	COMFYUI="$(COMFYUI)" $(TEST_ENV) $(COMFYUI_PYTHON) -m pytest tests/integrations

# some 20 GB of models from the Hub; REAL="--paintings DIR" compares Aivazovsky's paintings, too
real: $(VENV)/.installed
	$(BIN)/python tests/real.py $(REAL)

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks $(ONLY)

# some sixteen minutes of one processor; what was drawn before is not drawn again
evidence: $(VENV)/.installed
	$(BIN)/python -m benchmarks.evidence $(ONLY)

# less than 40 minutes; stopped, it goes on where it was
evidence-models: $(VENV)/.installed
	$(BIN)/python -m benchmarks.evidence.models

clean:
	rm -rf $(VENV) build dist .types .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage*
