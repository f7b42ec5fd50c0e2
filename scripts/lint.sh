#!/bin/sh
# Runs every linter, the rest too when one complains; fails if any did.
cd "$(dirname "$0")/.." || exit 1
PATH="$PWD/.venv/bin:$PATH"
failed=0

# check <what> <command…>: its output is shown only if it complains
check() {
    what=$1
    shift
    if output=$("$@" 2>&1); then
        echo "  ✓ $what"
    else
        printf '  ✗ %s\n%s\n' "$what" "$output"
        failed=1
    fi
}

# Where the clone lies must not matter: under /root, each bind mount of a file of ours would count as one of root's.
compose() {
    copy=$(mktemp -d)
    git ls-files 'docker-compose*.yml' compose .compose-lint.yml | tar -cf - -T - | tar -xf - -C "$copy"
    (cd "$copy" && compose-lint docker-compose*.yml)
    code=$?
    rm -r "$copy"
    return $code
}

# Words that docs/glossary.md has replaced, whole or as part of a name: each line shows where one stands.
words() {
    old='judg(e|es|ed|ing|ements?)|verdicts?|feeds?|(?<!user.)agents?|wardens?|leftovers?|last[ _]words|relaxations?'
    old="$old|unsliced|farewells?|objection|surely|inflight|at[ _]hand|(?<!quotation.)marks|take_back"
    ! git grep -nIPi "(?<![a-z])($old)(?![a-z])" -- ':!scripts/lint.sh' ':!LICENSE'
}

# Each ignore says why: `# noqa: CODE -- reason`, `# type: ignore[code]  # reason`.
reasons() {
    ! git grep -nP '# noqa(?!: [A-Z0-9, ]+ -- \S)|type: ignore(?!\[[a-z, -]+\]  # \S)' -- '*.py'
}

check "ruff check" ruff check .
check "ruff format" ruff format --check .
for package in bench embedded testing packages/*/src/*/ services/*/src/*/; do
    case $package in *.egg-info/) continue ;; esac
    check "mypy $package" mypy --strict "$package"
done
check lint-imports lint-imports --no-cache
check "words of the glossary" words
check "reasons of ignores" reasons
# shellcheck disable=SC2046 # one argument for each file
check hadolint hadolint $(git ls-files '*Dockerfile')
check compose-lint compose
exit $failed
