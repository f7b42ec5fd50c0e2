#!/bin/sh
# Deletes what the other targets made: first stops what runs from it.
set -eu
cd "$(dirname "$0")/.."
if [ -x .venv/bin/python ] && [ -d .signet ]; then
    .venv/bin/python -m embedded down
fi
rm -rf .venv .signet .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
find . -name __pycache__ -type d -prune -exec rm -rf {} +
find packages services embedded -name '*.egg-info' -type d -prune -exec rm -rf {} +
