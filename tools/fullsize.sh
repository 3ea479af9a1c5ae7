#!/usr/bin/env bash
# Full-size checks, by hand or nightly: makes a checkpoint of a real geometry with random weights, computes goldens with
# the reference, converts to several types, embeds the same cases with bin/bgevl, and prints cosines and peak memory.
#
#   tools/fullsize.sh [clip-base|clip-large ...]
#
# Needs the reference fixtures (BGEVL_SHARED, or ../shared) and PYTHON with their reference/requirements.txt installed.
# What it makes lies in FULLSIZE_DIR (build/fullsize) and is kept, so that a second run only converts and embeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shared=${BGEVL_SHARED:-../shared}
python=${PYTHON:-python3}
dir=${FULLSIZE_DIR:-build/fullsize}
types=(f32 f16 bf16 q8_0 q4_k_m)
mkdir -p "$dir"

make -s build
go build -o "$dir/compare" ./tools/compare

# Runs a command and prints its peak resident memory and time.
measured() { /usr/bin/time -f "$1: %e s, peak %M KB" "${@:2}"; }

for kind in "${@:-clip-base}"; do
    checkpoint=$dir/$kind
    goldens=$dir/$kind.golden.jsonl
    cases=$shared/fixtures/cases_clip.jsonl
    images=$shared/fixtures/images
    [ -d "$checkpoint" ] || "$python" "$shared/reference/make_checkpoint.py" "$kind" "$checkpoint"
    [ -f "$goldens" ] || "$python" "$shared/reference/golden.py" "$checkpoint" "$cases" "$goldens" --images "$images"
    for type in "${types[@]}"; do
        gguf=$dir/$kind-$type.gguf
        echo "== $kind $type"
        [ -f "$gguf" ] || measured convert bin/bgevl convert "$checkpoint" -o "$gguf" --type "$type"
        rm -f "$dir/$kind-$type.jsonl"
        # Some cases are refused on purpose: exit status 3 says so, and compare holds them to the goldens.
        measured embed bin/bgevl embed -m "$gguf" --input "$cases" --image-root "$images" \
            --output "$dir/$kind-$type.jsonl"|| [ $? -eq 3 ]
        "$dir/compare" "$goldens" "$dir/$kind-$type.jsonl"
        measured "embed one text" bin/bgevl embed -m "$gguf" --text x >/dev/null
        ls -l "$gguf" | awk '{print "file:", $5, "bytes"}'
    done
done
