#!/usr/bin/env bash
# Builds the static library by CMake (the preset cpu) and runs its tests; then the Go tests of the packages next to C
# with that library linked, and, where CMake found libjpeg-turbo, without the library but with libjpeg-turbo. Without
# CMake nothing is done, in so many words; under BGEVL_REQUIRE=1 that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
dir=build/cmake/cpu

if ! command -v cmake >/dev/null; then
    echo "cmake is not installed: the static library was not built or tested (tools/setup.sh installs it)" >&2
    [ "${BGEVL_REQUIRE:-}" != 1 ]
    exit
fi
tools/static.sh cpu
ctest --preset cpu --no-tests=error

# RACE as in the tests without tags, so that Go compiles ggml once for both.
tools/static.sh cpu "$go" test ${RACE:+"$RACE"} ./csrc ./clip ./llama
tags=$(cat "$dir/gotags")
if [ -n "$tags" ]; then
    "$go" test ${RACE:+"$RACE"} -tags "$tags" ./csrc ./internal/pixels
else
    echo "libjpeg-turbo was not found: its Go tests were not run (tools/setup.sh installs it)" >&2
    [ "${BGEVL_REQUIRE:-}" != 1 ]
fi
