# An index of what there is to run; CI runs the same targets (.ci/run).

PYTHON ?= python3
BIN := .venv/bin
PROJECTS := libs/evenkeel services/user-api services/counter-api stack
UV := $(BIN)/uv --quiet
# The hashes of wheels and source archives; never the address they came from.
LOCK := $(BIN)/uv --quiet pip compile --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade

.PHONY: help up down clean test lint format bench lock images

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(BIN)/.ready ## start everything on 127.0.0.1:8080 (PORT, USER_API_REPLICAS, COUNTER_API_REPLICAS)
	@$(BIN)/stack up

down: ## stop it; the data stays in .stack/
	@if [ -x $(BIN)/stack ]; then $(BIN)/stack down; fi

clean: ## stop it and delete the data
	@if [ -x $(BIN)/stack ]; then $(BIN)/stack down --delete-data; fi

test: $(BIN)/.ready ## all tests (BACKEND=containers or embedded forces one)
	@$(BIN)/pytest $(if $(BACKEND),--backend=$(BACKEND)) $(ARGS)

lint: $(BIN)/.ready ## ruff and mypy
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@# one run a distribution: their tests have modules of the same names
	@for project in $(PROJECTS) "tests benchmarks conftest.py"; do $(BIN)/mypy --no-error-summary $$project || exit 1; done

format: $(BIN)/.ready ## put the code into shape
	@$(BIN)/ruff check --fix --exit-zero
	@$(BIN)/ruff format

bench: $(BIN)/.ready ## measure, side by side
	@$(BIN)/python benchmarks/run.py

images: ## build the container images
	@for image in user-api counter-api; do \
	  docker build --quiet --tag evenkeel/$$image:dev --file services/$$image/Dockerfile . || exit 1; done
	@docker build --quiet --tag evenkeel/gateway:dev --file gateway/Dockerfile .

lock: $(BIN)/.ready ## pin the newest versions that pyproject.toml allows
	@$(LOCK) --python-version 3.11 --group dev $(patsubst %,--no-emit-package=%,$(notdir $(PROJECTS)) evenkeel-stack) \
	  $(PROJECTS:%=%/pyproject.toml) --output-file requirements.lock
	@for service in user-api counter-api; do \
	  $(LOCK) --python-version 3.13 --no-emit-package=evenkeel services/$$service/pyproject.toml \
	    --output-file services/$$service/requirements.lock || exit 1; done
	@grep -A 1000 '^uv==' requirements.lock | awk 'NR > 1 && /^[^ ]/ {exit} {print}' > bootstrap.lock

$(BIN)/.ready: requirements.lock bootstrap.lock $(PROJECTS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Evenkeel needs Python 3.11 or newer; make PYTHON=/path/to/python3 …")'
	@echo "Preparing .venv …"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement bootstrap.lock
	@$(UV) pip sync --compile-bytecode --require-hashes requirements.lock
	@$(UV) pip install --no-deps --no-build-isolation $(PROJECTS:%=--editable %)
	@touch $@
