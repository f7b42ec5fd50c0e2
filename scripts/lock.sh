#!/bin/sh
# Makes constraints.txt anew from every pyproject.toml. As it is, only what must change does; `--upgrade` takes what is newest.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt uv

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
for name in client mlflow-server torchserve trainer; do
    echo "signet-$name @ file://$PWD/services/$name"
done >"$work/projects.in"
echo "signet-contract[enforcement] @ file://$PWD/packages/contract" >>"$work/projects.in"
echo "signet-embedded[dev,containers,lock] @ file://$PWD/embedded" >>"$work/projects.in"
# torch moves by hand, with the Dockerfiles: its CPU build must be in reach, and what we know of its programs checked anew.
grep '^torch==' constraints.txt >>"$work/projects.in"

cp constraints.txt "$work/locked.txt" # uv keeps to the versions that it finds in its output
.venv/bin/uv pip compile --quiet --python-version 3.11 --no-annotate --no-header --output-file "$work/locked.txt" "$@" "$work/projects.in"
# Ours are installed from this folder. CUDA comes, if at all, with the torch that a machine takes, in the versions that this torch asks for.
grep -vE '^(signet-|nvidia-|cuda-|triton)' "$work/locked.txt" >constraints.txt
echo "constraints.txt: $(wc -l <constraints.txt) packages."
