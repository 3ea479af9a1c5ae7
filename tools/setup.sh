#!/usr/bin/env bash
# Installs the Debian packages that the tests and the linters need, and no others: what is there already is left alone.
# The product itself needs only Go and a C++ compiler.
set -euo pipefail

packages=(
    g++ make git               # the build
    clang clang-format         # make lint; the compiler of Macs
    cmake pkg-config           # the CMake build and its tests
    libvulkan-dev glslc mesa-vulkan-drivers # ggml's Vulkan backend, and a device in software to run it on
    libjpeg62-turbo-dev        # JPEG by libjpeg-turbo, and the tests that compare with it
    libsimde-dev               # kernels of other processors, tried on this one
    gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user # the NEON kernels, cross-compiled and emulated
    zsh fish                   # shell completion is tried in the shells themselves
    chromium                   # the page is tried in a browser
    python3 python3-venv       # huggingface_hub, beside which the hub package is tried
)

if ! command -v go >/dev/null; then
    echo "setup: go is not installed: get Go 1.26 or newer from https://go.dev/dl/" >&2
    exit 1
fi
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup: this is no Debian: install by hand what corresponds to: ${packages[*]}" >&2
    exit 1
fi

missing=()
for p in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "setup: nothing to install"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: run as root, or install by hand: ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
