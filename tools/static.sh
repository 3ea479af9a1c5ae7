#!/usr/bin/env bash
# Builds the static library of a preset of CMakePresets.json, and runs a command (go build, go test, ...) that links it:
#
#   tools/static.sh vulkan go test ./clip
#
# The command runs with GOFLAGS that set the build tags, which -tags on its own command line would undo. Without a
# command, the library is built and nothing else. CMAKE_ARGS goes to cmake where it configures, JOBS says how many
# compilers run at once (all processors).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${1:?usage: tools/static.sh cpu|cuda|metal|vulkan|hip [COMMAND...]}
shift
dir=build/cmake/$preset

for tool in cmake pkg-config; do
    if ! command -v "$tool" >/dev/null; then
        echo "static: $tool is not installed, which the static library needs (tools/setup.sh installs it on Debian)" >&2
        exit 1
    fi
done
if ! cmake --list-presets | grep -q "\"$preset\""; then
    echo "static: there is no preset $preset: cmake --list-presets shows them" >&2
    exit 1
fi
# CMake builds ggml from the module's folder, which a fresh clone does not have yet.
"${GO:-go}" mod download github.com/ollama/ollama
# Both say much where all goes well, and a program's own output is on standard output. (macOS's bash wants the + form.)
read -ra cmake_args <<<"${CMAKE_ARGS:-}"
cmake --preset "$preset" ${cmake_args[@]+"${cmake_args[@]}"} >&2
cmake --build --preset "$preset" --parallel "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" >&2
[ $# -gt 0 ] || exit 0

tags=bgevl_static
extra=$(cat "$dir/gotags")
export GOFLAGS="${GOFLAGS:-} -tags=$tags${extra:+,$extra}"
export PKG_CONFIG_PATH="$PWD/$dir${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
# csrc/static.go says what this is for.
digest=$(cksum "$dir/libbgevl.a" "$dir/bgevl.pc" | cksum | cut -d' ' -f1)
export CGO_CFLAGS="${CGO_CFLAGS:--O2 -g} -DBGEVL_LIBRARY=$preset.$digest"
exec "$@"
