# The commands of the project. CI runs the same targets (.ci/run).

PYTHON ?= python3
BIN := .venv/bin
SITE := build/site-environment
PROJECTS := libs/evenkeel services/user-api services/counter-api stack verify
UV := $(BIN)/uv --quiet
# Writes the hashes of wheels and source archives, but never the address from which they came.
LOCK := $(BIN)/uv --quiet pip compile --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade

.PHONY: help up down clean token test test-all lint format bench demo docs site lock audit sbom licences images k8s-load k8s-test

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(BIN)/.ready ## start everything on 127.0.0.1:8080 (PORT, USER_API_REPLICAS, COUNTER_API_REPLICAS, GATEWAY_ACCESS)
	@$(BIN)/stack up

down: ## stop everything; the data stays in .stack/
	@if [ -x $(BIN)/stack ]; then $(BIN)/stack down; fi

clean: ## stop everything and delete the data
	@if [ -x $(BIN)/stack ]; then $(BIN)/stack down --delete-data; fi

token: $(BIN)/.ready ## an access token with SCOPES="users:read counters:write", for LIFETIME seconds (3600)
	@$(BIN)/stack token --jwks gateway/access/tokens/jwks.json $(if $(LIFETIME),--lifetime "$(LIFETIME)") $(SCOPES)

# More workers than cores, because tests wait for faults most of the time (tests/support/distribution.py).
PYTEST = $(BIN)/pytest --numprocesses=auto --dist=loadgroup --no-loadscope-reorder $(if $(BACKEND),--backend=$(BACKEND))

# Workers and replicas are dozens of processes. Without this, each would compile every module again.
test test-all: export PYTHONDONTWRITEBYTECODE =

test: $(BIN)/.ready ## the tests, except slow ones (BACKEND=containers or embedded chooses the servers; ARGS=…)
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: $(BIN)/.ready ## all tests
	@$(PYTEST) $(ARGS)

lint: $(BIN)/.ready ## ruff, mypy, the rules of imports, licences, and known vulnerabilities
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@# one run for each distribution and each program of the guide, because they have modules of the same names
	@for project in $(PROJECTS) gateway "tests benchmarks demo supply_chain conftest.py docs/site.py docs/guide/addresses.py" docs/guide/steps/*; do $(BIN)/mypy --no-error-summary $$project || exit 1; done
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/python supply_chain/licences.py --check
	@$(BIN)/python supply_chain/audit.py

format: $(BIN)/.ready ## format the code, and fix what ruff can fix
	@$(BIN)/ruff check --fix --exit-zero
	@$(BIN)/ruff format

bench: $(BIN)/.ready ## measure, side by side (ARGS="--only bulk --short")
	@$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(SITE)/.ready ## serve the guide and the other documentation on 127.0.0.1:8008 (DOCS_PORT)
	@$(SITE)/bin/python docs/site.py
	@$(SITE)/bin/zensical serve --dev-addr 127.0.0.1:$(or $(DOCS_PORT),8008)

site: $(SITE)/.ready ## make the same site in build/site; a link that leads nowhere fails
	@$(SITE)/bin/python docs/site.py
	@$(SITE)/bin/zensical build --clean --strict

demo: $(BIN)/.ready ## in about a minute: what breaks with the state of tutorials, and what happens here (HTML=report.html)
	@$(BIN)/python -m demo $(if $(HTML),--html "$(HTML)")

audit: $(BIN)/.ready ## known vulnerabilities of what the lock files pin
	@$(BIN)/python supply_chain/audit.py

sbom: $(BIN)/.ready ## a bill of materials of each service in build/sbom
	@$(BIN)/python supply_chain/sbom.py

licences: $(BIN)/.ready ## write docs/licences.md from what the lock files pin
	@$(BIN)/python supply_chain/licences.py

# kind cannot load an image with attestations from Docker's containerd store. docs/supply-chain.md publishes with them.
images: export BUILDX_NO_DEFAULT_ATTESTATIONS = 1

images: ## build the container images (PYTHON_BASE, UV_BASE, ENVOY_BASE: other base images, such as name:tag@sha256:…)
	@for image in user-api counter-api; do \
	  docker build --quiet --tag evenkeel/$$image:dev --file services/$$image/Dockerfile \
	    $(if $(PYTHON_BASE),--build-arg BASE=$(PYTHON_BASE)) $(if $(UV_BASE),--build-arg UV=$(UV_BASE)) . || exit 1; done
	@docker build --quiet --tag evenkeel/gateway:dev --file gateway/Dockerfile \
	  $(if $(ENVOY_BASE),--build-arg BASE=$(ENVOY_BASE)) .
	@docker build --quiet --tag evenkeel/verify:dev --file verify/Dockerfile \
	  $(if $(PYTHON_BASE),--build-arg BASE=$(PYTHON_BASE)) .

k8s-load: ## load the images into the cluster of kubectl's current context: kind, minikube, k3s
	@deploy/k8s/load-images evenkeel/user-api:dev evenkeel/counter-api:dev evenkeel/gateway:dev evenkeel/verify:dev

k8s-test: $(BIN)/.ready ## disturb the installation in the cluster of CONTEXT, under load (NODE=… drains it, ARGS=…)
	@$(BIN)/verify disruptions --context "$(CONTEXT)" $(if $(NODE),--node "$(NODE)") $(ARGS)

lock: $(BIN)/.ready ## pin the newest versions that pyproject.toml allows
	@$(LOCK) --python-version 3.11 --group dev --extra telemetry \
	  $(patsubst %,--no-emit-package=%,user-api counter-api evenkeel-state evenkeel-stack evenkeel-verify) \
	  $(PROJECTS:%=%/pyproject.toml) --output-file requirements.lock
	@for service in user-api counter-api; do \
	  $(LOCK) --python-version 3.13 --extra telemetry --no-emit-package=evenkeel-state services/$$service/pyproject.toml \
	    --output-file services/$$service/requirements.lock || exit 1; done
	@for direct in benchmarks/contestants/*/requirements.in benchmarks/plotting/requirements.in docs/requirements.in; do \
	  $(LOCK) --python-version 3.11 $(patsubst %,--no-emit-package=%,novasvg quickjs-ng termaid) $$direct --output-file $${direct%.in}.lock || exit 1; done
	@grep -A 1000 '^uv==' requirements.lock | awk 'NR > 1 && /^[^ ]/ {exit} {print}' > bootstrap.lock

$(BIN)/.ready: requirements.lock bootstrap.lock $(PROJECTS:%=%/pyproject.toml)
	@$(PYTHON) stack/check_machine.py
	@echo "Preparing .venv, which takes about a minute …" >&2
	@# Without the system's package for venv, .venv is made without pip. So this looks for pip, not for the folder.
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement bootstrap.lock
	@$(UV) pip sync --compile-bytecode --require-hashes requirements.lock
	@$(UV) pip install --no-deps --no-build-isolation $(PROJECTS:%=--editable %)
	@touch $@

$(SITE)/.ready: $(BIN)/.ready docs/requirements.lock
	@echo "Preparing $(SITE) …" >&2
	@$(UV) venv --clear --python $(BIN)/python $(SITE)
	@$(UV) pip sync --python $(SITE)/bin/python --require-hashes docs/requirements.lock
	@touch $@
