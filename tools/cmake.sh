#!/usr/bin/env bash
# Builds the static library by CMake and runs its tests; then, where CMake found libjpeg-turbo, the Go tests of the
# packages that use it, under the build tags of build/cmake/gotags. Without CMake nothing is done, in so many words; under
# BGEVL_REQUIRE=1 that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
dir=build/cmake

if ! command -v cmake >/dev/null; then
    echo "cmake is not installed: the static library was not built or tested (tools/setup.sh installs it)" >&2
    [ "${BGEVL_REQUIRE:-}" != 1 ]
    exit
fi
cmake -S . -B "$dir"
cmake --build "$dir" --parallel "$(getconf _NPROCESSORS_ONLN)"
ctest --test-dir "$dir" --output-on-failure --no-tests=error

tags=$(cat "$dir/gotags")
if [ -n "$tags" ]; then
    # RACE as in the tests without tags, so that Go compiles ggml once for both.
    "$go" test ${RACE:+"$RACE"} -tags "$tags" ./csrc ./internal/pixels
else
    echo "libjpeg-turbo was not found: its Go tests were not run (tools/setup.sh installs it)" >&2
    [ "${BGEVL_REQUIRE:-}" != 1 ]
fi
