#!/usr/bin/env bash
# Builds the static library of a preset by CMake, runs its tests, and the Go tests of the packages next to C with that
# library linked.
#
#   tools/cmake.sh [cpu|vulkan]
#
# cpu, the default, also tests libjpeg-turbo without the library, where CMake found it. vulkan takes the first Vulkan
# device, which is Mesa's software device where there is no GPU, and holds every model to its goldens there. The software
# device takes a quarter of an hour for the MLLMs' pictures in f32, and checks one of each in q8_0. PICTURES says how many
# of each instead (-1: all). It compiles for five minutes on two cores, once. Without its tools, or without a device, a
# preset is left out, in so many words; under BGEVL_REQUIRE=1 that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
preset=${1:-cpu}

# Says what was not done for want of something, and ends: well, or under BGEVL_REQUIRE=1 badly.
leave_out() {
    echo "cmake.sh: $1 (tools/setup.sh installs it)" >&2
    [ "${BGEVL_REQUIRE:-}" != 1 ] || exit 1
    exit 0
}

command -v cmake >/dev/null || leave_out "cmake is not installed: the static library was not built or tested"
flags=()
case $preset in
cpu)
    # As in the tests without tags, so that Go compiles ggml once for both.
    flags+=(${RACE:+"$RACE"})
    ;;
vulkan)
    if [ -z "${VULKAN_SDK:-}" ]; then
        command -v glslc >/dev/null || leave_out "glslc is not installed: nothing was built or tested for Vulkan"
        pkg-config --exists vulkan || leave_out "libvulkan-dev is not installed: nothing was built or tested for Vulkan"
    fi
    # ggml leaves out software devices unless it is told which devices to take. Its product of narrow matrices is wrong
    # where a subgroup is narrower than 16, and Mesa's are as wide as its vectors of 32 bits.
    export GGML_VK_VISIBLE_DEVICES=${GGML_VK_VISIBLE_DEVICES:-0} LP_NATIVE_VECTOR_WIDTH=512
    ;;
*)
    echo "cmake.sh: $preset: want cpu or vulkan" >&2
    exit 2
    ;;
esac

tools/static.sh "$preset"
ctest --preset "$preset" --no-tests=error
if [ "$preset" = vulkan ]; then
    status=0
    found=$(build/cmake/vulkan/tests/capi/backend Vulkan) || status=$? # as ctest did: 77 says that there is no device
    [ "$status" != 77 ] || leave_out "there is no Vulkan device (Mesa's is in mesa-vulkan-drivers): nothing was computed by Vulkan"
    export BGEVL_DEVICE=Vulkan0
    # LLVM was seen to take a minute and more for an RMS norm fused with its product (bench/NOTES.md, "Devices").
    pictures=-1 flash=on
    case $found in *llvmpipe*)
        export GGML_VK_DISABLE_FUSION=1
        pictures=1 flash=off
        ;;
    esac
    # What is left out takes minutes on a software device; csrc's own tests cancel batches.
    tools/static.sh vulkan "$go" test -timeout 20m -skip TestCancelRunning ./csrc ./clip ./llama ./internal/modelfile
    # Fused attention, which small batches took above, needs minutes for each layer of a picture's prompt on llvmpipe.
    export BGEVL_FLASH_ATTENTION=$flash
    # All pictures in f32; in q8_0, on a software device, one of each MLLM.
    floats='TestGoldensMLLM/./f32'
    tools/static.sh vulkan "$go" test -timeout 3h -v -run "$floats" ./tests -pictures "${PICTURES:--1}"
    tools/static.sh vulkan "$go" test -timeout 3h -v -run TestGoldens -skip "$floats" ./tests \
        -pictures "${PICTURES:-$pictures}"
    exit
fi

tools/static.sh cpu "$go" test ${flags[@]+"${flags[@]}"} ./csrc ./clip ./llama

tags=$(cat build/cmake/cpu/gotags)
if [ -n "$tags" ]; then
    "$go" test ${flags[@]+"${flags[@]}"} -tags "$tags" ./csrc ./internal/pixels
else
    leave_out "libjpeg-turbo was not found: its Go tests were not run"
fi
