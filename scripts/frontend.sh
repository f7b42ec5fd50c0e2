#!/usr/bin/env bash
# Compiles what TorchServe's frontend gets beside its own classes; needs a JDK, which neither the services nor their tests do.
set -euo pipefail
cd "$(dirname "$0")/.."
jar=$(.venv/bin/python -c 'import ts, pathlib; print(pathlib.Path(ts.__file__).with_name("frontend") / "model-server.jar")')
cd services/torchserve/src/signet_torchserve/server/java
javac --release 11 -g:none -classpath "$jar" signet/*.java
