#!/bin/sh
# Finds a Python 3.11 (PYTHON names one) and has it make .venv, or find that .venv is complete.
cd "$(dirname "$0")/.." || exit 1

is_311() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null
}

if [ -n "$PYTHON" ]; then
    is_311 "$PYTHON" || { echo "PYTHON=$PYTHON is not a Python 3.11." >&2; exit 1; }
fi
for candidate in "$PYTHON" .venv/bin/python python3.11 python3 python "$HOME"/.pyenv/versions/3.11.*/bin/python \
    "$HOME"/.local/share/uv/python/cpython-3.11.*/bin/python3.11 /opt/homebrew/bin/python3.11 /usr/local/bin/python3.11; do
    if [ -n "$candidate" ] && is_311 "$candidate"; then
        exec "$candidate" embedded/bootstrap.py
    fi
done
echo "Python 3.11 was not found. Install it (Debian, Ubuntu: apt install python3.11 python3.11-venv; anywhere:" \
    "uv python install 3.11), or name it: make PYTHON=/path/to/python3.11 …" >&2
exit 1
