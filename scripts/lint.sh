#!/bin/sh
# Runs every linter, the rest too when one complains; fails if any did.
cd "$(dirname "$0")/.." || exit 1
PATH="$PWD/.venv/bin:$PATH"
failed=0

check() {
    echo "lint: $*"
    "$@" || failed=1
}

check ruff check .
check ruff format --check .
for package in embedded services/*/src/*/; do
    case $package in *.egg-info/) continue ;; esac
    check mypy --strict "$package"
done
dockerfiles=$(git ls-files '*Dockerfile*')
if [ -n "$dockerfiles" ]; then
    # shellcheck disable=SC2086 # one argument each
    check hadolint $dockerfiles
fi
composefiles=$(git ls-files 'docker-compose*.yml')
if [ -n "$composefiles" ]; then
    # shellcheck disable=SC2086 # one argument each
    check compose-lint $composefiles
fi
exit $failed
