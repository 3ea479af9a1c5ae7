#!/usr/bin/env bash
# Cross-compiles for 64-bit Arm Linux, both ways: by cgo alone, and with the static library of CMake's preset arm64. Both
# programs then convert the small checkpoint of the tests under qemu and embed its cases, which are held to the
# reference's numbers. What it makes lies in build/arm64. Needs gcc-aarch64-linux-gnu, g++-aarch64-linux-gnu and
# qemu-user, which tools/setup.sh installs; on Arm itself, `make build` is enough.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
out=build/arm64
data=tests/testdata/clip-small
emulator=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
mkdir -p "$out"

for tool in aarch64-linux-gnu-gcc aarch64-linux-gnu-g++ qemu-aarch64; do
    if ! command -v "$tool" >/dev/null; then
        echo "arm64: $tool is not installed (tools/setup.sh installs it)" >&2
        exit 1
    fi
done
"$go" build -o "$out/compare" ./tools/compare

export CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ GOOS=linux GOARCH=arm64 CGO_ENABLED=1
"$go" build -buildvcs=false -o "$out/bgevl-cgo" ./cmd/bgevl
tools/static.sh arm64 "$go" build -buildvcs=false -o "$out/bgevl-static" ./cmd/bgevl
ctest --preset arm64 --no-tests=error

for way in cgo static; do
    bgevl=("${emulator[@]}" "$out/bgevl-$way")
    "${bgevl[@]}" version
    "${bgevl[@]}" convert "$data" -o "$out/small.gguf" --type f32 --force >/dev/null
    rm -f "$out/$way.jsonl"
    # One case is refused on purpose: exit status 3 says so, and compare holds it to the goldens.
    "${bgevl[@]}" embed -m "$out/small.gguf" --input "$data.cases.jsonl" --image-root examples/pictures \
        --output "$out/$way.jsonl" 2>/dev/null || [ $? -eq 3 ]
    # As tests/goldens_test.go holds f32 where pictures are JPEG.
    "$out/compare" -min 0.9999 "$data.golden.jsonl" "$out/$way.jsonl"
done

# Quantised weights by each table of integer products, whose results must not differ by a bit. The floors are README.md's
# for the large models: this one was seen at 0.9997 and 0.991.
bgevl=("${emulator[@]}" "$out/bgevl-cgo")
for type in q8_0 q4_k_m; do
    "${bgevl[@]}" convert "$data" -o "$out/$type.gguf" --type $type --force >/dev/null
    for table in neon neondot neoni8mm; do
        rm -f "$out/$type-$table.jsonl"
        BGEVL_CPU=$table "${bgevl[@]}" embed -m "$out/$type.gguf" --input "$data.cases.jsonl" --image-root examples/pictures \
            --output "$out/$type-$table.jsonl" 2>/dev/null || [ $? -eq 3 ]
        cmp "$out/$type-neon.jsonl" "$out/$type-$table.jsonl"
    done
    "$out/compare" -min "$([ $type = q8_0 ] && echo 0.999 || echo 0.98)" "$data.golden.jsonl" "$out/$type-neon.jsonl"
done
