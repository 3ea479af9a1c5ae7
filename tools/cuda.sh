#!/usr/bin/env bash
# Builds bin/bgevl with the CUDA backend on a machine without CUDA: fetches NVIDIA's compiler and libraries from PyPI
# into build/cuda (840 MB), makes a toolkit of them, and compiles for one kind of GPU. Where a CUDA toolkit is installed,
# `make build BACKEND=cuda` is enough.
#
#   CUDA_ARCH=90 tools/cuda.sh [COMMAND...]      by default: make build
#
# CUDA_ARCH is the compute capability without its point: 75 (Turing), 80 and 86 (Ampere), 89 (Ada), 90 (Hopper), 120
# (Blackwell). JOBS compilers run at once; each may take 3 GB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

arch=${CUDA_ARCH:-90}
wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
    nvidia-cublas==13.0.2.14 nvidia-cuda-cccl==13.0.85)

if ! command -v python3 >/dev/null; then
    echo "cuda: python3 is not installed, which fetches the compiler from PyPI: install it with its venv module" >&2
    exit 1
fi
venv=build/cuda/venv
[ -x "$venv/bin/pip" ] || python3 -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check "${wheels[@]}"
toolkit=$(echo "$PWD/$venv"/lib/python3*/site-packages/nvidia/cu13)
[ -x "$toolkit/bin/nvcc" ] || { echo "cuda: the wheels left no nvcc in $toolkit" >&2; exit 1; }

# What the wheels lack of an installed toolkit: the folder lib64 that nvcc looks into, and the names to link by.
ln -sfn lib "$toolkit/lib64"
for library in "$toolkit"/lib/lib*.so.*; do
    ln -sf "$(basename "$library")" "${library%.so.*}.so"
done

"$toolkit/bin/nvcc" --version | tail -2
export CMAKE_ARGS="${CMAKE_ARGS:-} -DCMAKE_CUDA_COMPILER=$toolkit/bin/nvcc -DCMAKE_CUDA_ARCHITECTURES=$arch"
if [ $# -eq 0 ]; then
    time make build BACKEND=cuda
else
    tools/static.sh cuda "$@"
fi
