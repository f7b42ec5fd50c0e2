#!/bin/sh
# Runs bootstrap.py, which makes .venv, by the newest Python from 3.11 to 3.13 that can make one, or by the one that PYTHON names.
cd "$(dirname "$0")/.." || exit 1

is_right() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

if [ -n "$PYTHON" ]; then
    is_right "$PYTHON" || { echo "PYTHON=$PYTHON is not a Python from 3.11 to 3.13." >&2; exit 1; }
    exec "$PYTHON" embedded/bootstrap.py
fi
right=
# The Python that has made .venv comes first: another one would make .venv anew.
for candidate in .venv/bin/python python3.13 python3.12 python3.11 python3 python \
    "$HOME"/.pyenv/versions/3.1[321].*/bin/python "$HOME"/.local/share/uv/python/cpython-3.1[321].*/bin/python3 \
    /opt/homebrew/bin/python3.1[321] /usr/local/bin/python3.1[321]; do
    if is_right "$candidate"; then
        right=${right:-$candidate}
        "$candidate" -c 'import ensurepip' 2>/dev/null && exec "$candidate" embedded/bootstrap.py
    fi
done
[ -n "$right" ] && exec "$right" embedded/bootstrap.py # it says what this Python lacks
echo "No Python from 3.11 to 3.13 was found. Install one (Debian, Ubuntu: apt install python3 python3-venv; anywhere:" \
    "uv python install 3.13), or name it: make PYTHON=/path/to/python3.13 …" >&2
exit 1
