# What there is to do: `make`.
.DEFAULT_GOAL := help
# Python's own text and paths are UTF-8, whatever the locale says.
export PYTHONUTF8 := 1
EMBEDDED := .venv/bin/python -m embedded
IF_MADE := [ ! -x .venv/bin/python ] && echo "Nothing was started here yet: make up." || exec

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## makes .venv or brings it up to date (every other target does so by itself)
	@PYTHON='$(PYTHON)' embedded/bootstrap.sh

.PHONY: demo
demo: venv ## trains, deploys and checks predictions on a throwaway stack; needs Python and nothing else
	@exec $(EMBEDDED) demo

.PHONY: up
up: venv ## keeps the stack running in the background: MLflow at :5000, predictions at :8080
	@exec $(EMBEDDED) up

.PHONY: serve
serve: venv ## keeps TorchServe alone running, at the MLflow server of MLFLOW_TRACKING_URI; predictions at :8080
	@exec $(EMBEDDED) serve

.PHONY: status
status: ## what of it runs, and where
	@$(IF_MADE) $(EMBEDDED) status

.PHONY: logs
logs: ## its logs' last lines; SERVICE=torchserve FOLLOW=1 follows one
	@$(IF_MADE) $(EMBEDDED) logs $(SERVICE) $(if $(FOLLOW),--follow)

.PHONY: down
down: ## stops it; the data stays in .signet
	@$(IF_MADE) $(EMBEDDED) down

.PHONY: backup
backup: ## saves the database and the bucket of `make up`; TO=a new folder
	@$(IF_MADE) $(EMBEDDED) backup '$(TO)'

.PHONY: restore
restore: venv ## puts back what was saved, after make down; FROM=that folder
	@exec $(EMBEDDED) restore '$(FROM)'

.PHONY: test
test: venv ## lint, types, unit tests, integration tests; the containers too where a Docker engine answers
	@scripts/test.sh

.PHONY: test-python
test-python: ## the unit tests that need no torch on another Python; PYTHON=python3.13
	@PYTHON='$(PYTHON)' scripts/test-python.sh

.PHONY: bench
bench: venv ## measures handler and rollouts beside a no-op, the seed's way and MLflow's server; needs wrk
	@exec .venv/bin/python -m bench $(BENCH)

.PHONY: lint
lint: venv ## ruff, mypy, import-linter, hadolint, compose-lint
	@scripts/lint.sh

.PHONY: format
format: venv ## rewrites the Python files as ruff likes them
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

.PHONY: lock
lock: venv ## makes constraints.txt anew from every pyproject.toml; UPGRADE=1 takes newer versions
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## deletes .venv and everything in .signet, the data of `make up` too, once nothing runs
	@scripts/clean.sh
