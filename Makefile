# Two commands: `make book` and `make test`. Both set themselves up; a second call skips what is done.
PYTHON ?= python3
PROFILE ?= embedded
BIN := .venv/bin
INSTALLED := .venv/.installed
EXECUTED := _build/executed
RECORDS := _build/records/$(PROFILE)
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
SOURCES := $(shell find blurnb -name '*.py' -o -name '*.csv' -o -name '*.txt' -o -name '*.css' -o -name '*.toml' -o -name '*.j2' -o -name '*.html')
export BLURNB_CACHE ?= $(CURDIR)/.cache
export MPLBACKEND := agg

.DELETE_ON_ERROR:
.PHONY: book test lint setup clean constraints readme licences campaign audit sbom

book: $(NOTEBOOKS:%=$(EXECUTED)/%)
	$(BIN)/jupyter-book build . -W --keep-going --quiet
	@echo "Open file://$(CURDIR)/_build/html/book/intro.html"

# The chapters are run on the smoke profile, then run again by nbval, which holds them to the tables of the first run.
test: $(INSTALLED)
	$(BIN)/pytest
	$(MAKE) --no-print-directory $(NOTEBOOKS:notebooks/%=_build/nbval/%)
	$(BIN)/pytest -q --nbval-lax --nbval-current-env --nbval-cell-timeout=600 _build/nbval

_build/nbval/%.ipynb: notebooks/%.ipynb $(SOURCES) | $(INSTALLED)
	$(BIN)/python -m blurnb run $< --output $@ -p profile=smoke -p output_dir=_build/nbval/records

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[book,test,deblurring,cluster,openvino]'
	touch $@

# The chapters are run by papermill; the executed copies appear whole or not at all. A copy of another profile is stale.
$(EXECUTED)/%.ipynb: %.ipynb $(SOURCES) $(EXECUTED)/.profile | $(INSTALLED)
	$(BIN)/python -m blurnb run $< --output $@ -p profile=$(PROFILE) -p output_dir=$(RECORDS)

$(EXECUTED)/.profile: FORCE
	@mkdir -p $(@D) && { test "$$(cat $@ 2>/dev/null)" = "$(PROFILE)" || { rm -rf _build/records; echo $(PROFILE) > $@; }; }

FORCE:

lint: $(INSTALLED)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# Exact versions of everything that `make setup` installs, for constraints.txt.
constraints:
	$(BIN)/pip freeze --exclude-editable | grep -v '@ file' > constraints.txt

# The README's figure and table, redrawn from book/records.
readme: $(INSTALLED)
	$(BIN)/python book/_tools/readme.py

# The page of licences, from what the installed packages state.
licences: $(INSTALLED)
	$(BIN)/python book/_tools/licences.py

# Known advisories about the exact versions of constraints.txt; needs a network, and an environment of its own.
audit:
	test -x _build/audit/bin/pip-audit || { $(PYTHON) -m venv _build/audit && _build/audit/bin/pip install -q pip-audit; }
	_build/audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

# A bill of materials (CycloneDX) of what is installed; needs no network.
sbom: $(INSTALLED)
	$(BIN)/python book/_tools/licences.py --bill

# Kills, full disks, damaged files, bad input: everything must come out right or be one line. Its totals go into the book.
campaign: $(INSTALLED)
	$(BIN)/python -m faults --output book/records/campaign.json

clean:
	rm -rf _build _run out
