# Every target sets up what it needs: a virtual environment in .venv, made with the first Python >= 3.11 found.
# Another interpreter: make PYTHON=/path/to/python3 run. Arguments for a run: make run ARGS="--preset laptop".
# Written for GNU make 3.81 (macOS) and later.

PY    := .venv/bin/python
READY := .venv/.ready
JOBS  ?= 2
ARGS  ?=
PIP_OPTIONS := --no-input --disable-pip-version-check -c requirements-lock.txt
LAB_ARGS ?=
NUMBERS ?=
EXTRAS := course,dev,judges,heic,ranks,site

.PHONY: help setup run lab check test notebooks nbval faults frames site lock clean

help:
	@echo 'make run    the whole pipeline, small: a table of clean and robust accuracies (ARGS="..." is passed on)'
	@echo 'make lab    the notebooks in JupyterLab (LAB_ARGS="..." is passed on)'
	@echo 'make check  style, imports, types, spelling, unit and property tests: for every edit'
	@echo 'make test   everything, slow tests and notebooks too: what CI calls'
	@echo 'make notebooks  run the sources in notebooks/src and write the notebooks (NUMBERS="06 07": some)'
	@echo 'make nbval  the committed notebooks against a fresh run; part of make test'
	@echo 'make faults every planted fault against its test: do the tests bite? (takes half an hour)'
	@echo 'make site   notebooks, pages and API reference as a site that reads offline, in site/'
	@echo 'make frames what the sliders of the site show, drawn beforehand; before make site'
	@echo 'make setup  only the virtual environment that the others make for themselves'
	@echo 'make lock   write the installed versions to requirements-lock.txt'
	@echo 'make clean  remove the virtual environment, caches and build products; data and results stay'

setup: $(READY)

run: $(READY)
	$(PY) -m anrot_lib run $(ARGS)

# Nothing is fetched: no news, no look for updates, no extension catalogue.
lab: $(READY)
	$(PY) -m jupyterlab --LabApp.news_url=None --LabApp.extension_manager=readonly \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(LAB_ARGS) notebooks/00_start_here.ipynb

check: $(READY) style
	$(PY) -m pytest -n $(JOBS) -m "not slow and not gpu"

test: $(READY) style
	$(PY) -m pytest -n $(JOBS)
	$(MAKE) nbval

.PHONY: style
style: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check --output-format concise .
	.venv/bin/codespell
	.venv/bin/lint-imports --no-logo
	$(PY) -m mypy

# The sources, run and written as what is committed. One alone: make notebooks NUMBERS=06.
notebooks: $(READY)
	$(PY) notebooks/build.py $(NUMBERS)

# The committed outputs against a fresh run: strict, only what tests/nbval.cfg names may differ.
# One thread a kernel: two kernels with two threads each wait for one another on two cores.
nbval: $(READY)
	OMP_NUM_THREADS=1 ANROT_PRESET=smoke ANROT_HEADLESS=1 ANROT_DATA=embedded $(PY) -m pytest -n $(JOBS) --dist loadscope \
	  --nbval --nbval-current-env --nbval-cell-timeout=120 --nbval-sanitize-with tests/nbval.cfg \
	  --ignore-glob='*checkpoint*' notebooks

# Every fault of tests/faults, planted one at a time: which of them does a test see? ("make faults ARGS=--changed")
faults: $(READY)
	$(PY) tests/faults --workers $(JOBS) $(ARGS)

# The states of the notebooks' sliders, for the site (some minutes): make frames site
frames: $(READY)
	OMP_NUM_THREADS=1 ANROT_PRESET=smoke ANROT_HEADLESS=1 ANROT_DATA=embedded $(PY) notebooks/sweep.py --frames $(NUMBERS)

site: $(READY)
	$(PY) -m anrot_lib report --site

# What is installed now, whatever the old lock says, as far as every platform can install it: local version
# tags (+cpu), CUDA parts and this project itself stay out. requirements.txt repeats what pyproject.toml declares.
lock:
	$(PY) -m pip freeze --all --exclude-editable > requirements-lock.tmp
	@{ echo '# The tried set, every package with its version, to be used as constraints:'; \
	  echo '#   pip install -c requirements-lock.txt -e ".[$(EXTRAS)]"'; \
	  echo '# Written by "make lock". It must also suit Python 3.11.0 (a test says so).'; \
	  sed -e '/ @ /d' -e 's/+[A-Za-z0-9.]*$$//' -e '/^nvidia-/d' -e '/^cuda-/d' -e '/^triton==/d' \
	    -e '/^anrot[-_]lib/d' requirements-lock.tmp; } > requirements-lock.txt
	@rm requirements-lock.tmp
	@{ echo '# The library and the course; pyproject.toml is where to change it, "make lock" writes it here.'; \
	  $(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	    print(*p["dependencies"], *p["optional-dependencies"]["course"], sep="\n")'; } > requirements.txt

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find anrot_lib tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A venv without pip (interrupted, or its Python is gone) is made anew; a whole one is only brought up to date.
$(READY): pyproject.toml requirements-lock.txt
	@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  seen=; found=; \
	  for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	    seen=$$python; \
	    "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || continue; \
	    found=$$python; break; \
	  done; \
	  if [ -z "$$seen" ]; then \
	    echo 'No Python 3.11 or later was found: install one, or name it: make PYTHON=/path/to/python3 ...' >&2; exit 1; \
	  elif [ -z "$$found" ]; then \
	    echo "$$seen cannot make virtual environments; on Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; \
	  fi; \
	  echo "Making .venv with $$($$found --version); the first installation takes some minutes."; \
	  "$$found" -m venv --clear .venv; \
	fi
	$(PY) -m pip install $(PIP_OPTIONS) --upgrade pip
	$(PY) -m pip install $(PIP_OPTIONS) -e '.[$(EXTRAS)]'
	@mkdir -p .venv/share/jupyter/lab/settings  # JupyterLab shall not ask whether it may fetch news
	@printf '%s\n' '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' \
	  > .venv/share/jupyter/lab/settings/overrides.json
	@touch $@
