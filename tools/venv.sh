#!/usr/bin/env bash
# Creates .venv with the first fitting Python: tools/venv.sh [PYTHON]
# Fitting is 3.11 or newer, with venv, pip and its headers (Python.h). Debian's own comes first: its headers are in system-packages.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

fits='
import ensurepip, os, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(0 if sys.version_info >= (3, 11) and os.path.exists(header) else 1)
'
candidates=(/usr/bin/python3 python3 python3.12 python3.11 python3.13 python3.14)
if [ -n "${1:-}" ]; then
    candidates=("$1")
fi
for python in "${candidates[@]}"; do
    if command -v "$python" >/dev/null && "$python" -c "$fits" 2>/dev/null; then
        echo "creating .venv with $("$python" --version) ($(command -v "$python"))"
        exec "$python" -m venv --clear .venv
    fi
done
echo "no Python 3.11 or newer with venv, pip and headers among: ${candidates[*]} (name one with make PYTHON=...)" >&2
exit 1
