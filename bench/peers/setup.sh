#!/usr/bin/env bash
# Installs the benchmark's peers from PyPI into build/peers, which git ignores: some 6 GB, most of which are libraries for
# graphics cards that PyTorch's package brings and nothing here uses. llama-cpp-python is compiled for this processor, which
# takes a quarter of an hour of two cores; WITHOUT_LLAMACPP=1 leaves it out. What cannot be had is named, and its rows are
# missing from the table.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

llamacpp=0.3.36
python=build/peers/bin/python
stamp=build/peers/requirements.txt
if [ "${WITHOUT_PEERS:-}" = 1 ]; then
    echo "peers: WITHOUT_PEERS=1: none is measured"
    exit 0
fi
if ! command -v python3 >/dev/null; then
    echo "peers: python3 is not installed (Debian: python3-venv): no peer is measured" >&2
    exit 0
fi
pip() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }
mkdir -p build
if ! cmp -s bench/peers/requirements.txt "$stamp"; then
    echo "peers: installing into build/peers: some minutes, once"
    [ -x "$python" ] || python3 -m venv build/peers
    if pip -r bench/peers/requirements.txt; then
        cp bench/peers/requirements.txt "$stamp"
    else
        echo "peers: pip could not install bench/peers/requirements.txt: peers that miss something are left out" >&2
    fi
fi
if [ "${WITHOUT_LLAMACPP:-}" = 1 ]; then
    echo "peers: WITHOUT_LLAMACPP=1: llama.cpp and ggml are left out"
elif ! "$python" -c "import llama_cpp as l; assert l.__version__ == '$llamacpp'" 2>/dev/null; then
    echo "peers: compiling llama-cpp-python $llamacpp: a quarter of an hour, once"
    CMAKE_ARGS=-DGGML_NATIVE=ON pip "llama-cpp-python==$llamacpp" ||
        echo "peers: llama-cpp-python $llamacpp could not be compiled: llama.cpp and ggml are left out" >&2
fi
