#!/bin/sh
# Everything that must hold: lint, types, unit tests, and the integration suite on both ways to run.
# Without a Docker engine the containers are left out, unless SIGNET_REQUIRE_CONTAINERS=1 makes that an error.
cd "$(dirname "$0")/.." || exit 1
PATH="$PWD/.venv/bin:$PATH"
results=""
failed=0

part() {
    name=$1
    shift
    echo "=== $name"
    began=$(date +%s)
    "$@"
    code=$?
    word=passed
    if [ $code -ne 0 ]; then word="FAILED ($code)" failed=1; fi
    results="$results  $name: $word, $(($(date +%s) - began)) s
"
}

part lint scripts/lint.sh
for folder in services/*/tests embedded/tests tests/compose; do
    part "$folder" pytest -q "$folder"
done
part "integration, embedded" pytest -q tests/integration --stack embedded
if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
    part "integration, containers" pytest -q tests/integration --stack compose
elif [ "${SIGNET_REQUIRE_CONTAINERS:-}" = 1 ]; then
    results="$results  integration, containers: FAILED, SIGNET_REQUIRE_CONTAINERS=1 and no Docker engine with Compose v2 answers
"
    failed=1
else
    results="$results  integration, containers: left out, no Docker engine with Compose v2 answers
"
fi
printf '=== summary\n%s' "$results"
exit $failed
