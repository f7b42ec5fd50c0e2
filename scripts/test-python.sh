#!/usr/bin/env bash
# The unit tests that need no torch, on the Python that PYTHON names: torch's CPU build is not in reach for each that is supported.
# Everything else that is locked is installed there.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.signet/$(basename "${PYTHON:?names no Python: make test-python PYTHON=python3.13}")
# To compile all of it would take longer than to compile what is imported, once.
unset PYTHONDONTWRITEBYTECODE
install() { "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-compile "$@"; }

"$PYTHON" -m venv "$venv"
grep -vE '^(torch|torchmetrics|lightning|pytorch-lightning)==' constraints.txt >"$venv/locked.txt"
install -r "$venv/locked.txt"
install --no-build-isolation -e packages/contract -e services/client -e services/mlflow-server -e services/torchserve -e embedded
# Many cases are drawn on the main Python; a few show that this one takes them.
SIGNET_EXAMPLES=${SIGNET_EXAMPLES:-20} "$venv/bin/pytest" -q packages/contract/tests services/client/tests services/mlflow-server/tests embedded/tests tests/compose \
    --ignore services/client/tests/deployments/test_inputs.py # of inputs that are torch's
