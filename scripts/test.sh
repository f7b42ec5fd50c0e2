#!/usr/bin/env bash
# Everything that must hold: lint, types, unit tests, the integration suite on both ways to run, and a Swarm.
# Without a Docker engine the containers are left out, unless SIGNET_REQUIRE_CONTAINERS=1 makes that an error.
set -u
cd "$(dirname "$0")/.." || exit 1
PATH="$PWD/.venv/bin:$PATH"
# Hundreds of processes are started: what they import is compiled once, not by each.
unset PYTHONDONTWRITEBYTECODE
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

part() { # NAME COMMAND…
    local name=$1 began=$SECONDS code
    shift
    echo "=== $name"
    "$@"
    code=$?
    if [ $code -eq 0 ]; then code=passed; else code="FAILED ($code)"; fi
    echo "  $name: $code, $((SECONDS - began)) s" >>"$logs/summary"
}

# Two at a time, as the smallest machine has two cores, the longest first; each prints when it is done. The longest suite is in two parts.
longest=services/torchserve/tests
units=("$longest" "$longest/model" lint)
for name in packages/*/tests services/*/tests embedded/tests tests/compose tests/kubernetes tests/conformance bench/tests testing/tests; do
    [ "$name" = "$longest" ] || units+=("$name")
done
for name in "${units[@]}"; do
    case $name in
        lint) command=(scripts/lint.sh) ;;
        "$longest") command=(pytest -q --durations 12 "$name" --ignore "$name/model") ;;
        *) command=(pytest -q --durations 12 "$name") ;;
    esac
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
    {
        part "$name" "${command[@]}" >"$logs/${name//\//-}.log" 2>&1
        cat "$logs/${name//\//-}.log"
    } &
done
wait

# One at a time: they hold deployments to the seconds that are promised.
last=2
part "integration, embedded" pytest -q --durations 12 tests/integration --stack embedded
if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
    last=3
    part "integration, containers" pytest -q --durations 12 tests/integration --stack compose
    if [ "$(id -u)" = 0 ]; then
        part Swarm pytest -q --durations 12 -s tests/swarm
    else
        echo "  Swarm: left out, only root can make machines of namespaces" >>"$logs/summary"
    fi
elif [ "${SIGNET_REQUIRE_CONTAINERS:-}" = 1 ]; then
    echo "  containers: FAILED, SIGNET_REQUIRE_CONTAINERS=1 and no Docker engine with Compose v2 answers" >>"$logs/summary"
else
    echo "  containers: left out, no Docker engine with Compose v2 answers" >>"$logs/summary"
fi
echo "=== summary"
cat "$logs/summary"
# A part that was killed has left no line.
[ "$(grep -c ': passed\|: left out' "$logs/summary")" -eq $((${#units[@]} + last)) ]
