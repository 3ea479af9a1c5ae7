#!/usr/bin/env bash
# Installs Python's huggingface_hub where tests/hub_python_test.go looks for it: build/python, which git ignores.
# It checks the fake hub of the tests, and that both programs share one cache. The product needs no Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.36.2
python=build/python/bin/python
if [ -x "$python" ] && "$python" -c "import huggingface_hub as h; assert h.__version__ == '$version'" 2>/dev/null; then
    echo "hub-python: huggingface_hub $version is there"
    exit 0
fi
if ! command -v python3 >/dev/null; then
    echo "hub-python: python3 is not installed: install it with its venv module" >&2
    exit 1
fi
mkdir -p build
python3 -m venv --clear build/python
"$python" -m pip install --quiet --disable-pip-version-check "huggingface_hub==$version"
echo "hub-python: installed huggingface_hub $version in build/python"
