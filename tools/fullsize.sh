#!/usr/bin/env bash
# Full-size checks, by hand or nightly: makes a checkpoint of a real geometry with random weights, computes goldens with
# the reference, converts to several types, embeds the same cases with bin/bgevl, and prints cosines, times and peak
# memory.
#
#   tools/fullsize.sh [clip-base|clip-large|mllm-l4|mllm ...]
#
# mllm-l4 is BGE-VL-MLLM at its full width with 4 of its 32 decoder layers: cosines against the reference, which needs
# 8 GB, and what a text's buffers take. mllm is the whole of it: 16 GB of memory to make the checkpoint, 30 GB of disk; one
# conversion to q8_0 and q4_k_m, and the published example. Both want an hour of an old processor.
#
# Needs the reference fixtures (BGEVL_SHARED, or ../shared) and PYTHON with their reference/requirements.txt installed.
# What it makes lies in FULLSIZE_DIR (build/fullsize) and is kept, so that a second run only converts and embeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shared=${BGEVL_SHARED:-../shared}
python=${PYTHON:-python3}
dir=${FULLSIZE_DIR:-build/fullsize}
images=$shared/fixtures/images
types=(f32 f16 bf16 q8_0 q4_k_m)
mkdir -p "$dir"

make -s build
go build -o "$dir/compare" ./tools/compare

# measured NAME COMMAND...: runs a command, and prints its time, its peak resident memory (which counts what it touched of a
# mapped file), and the peak of what it allocated itself, looked at five times a second.
measured() {
    local name=$1 timer anonymous=0 now
    shift
    /usr/bin/time -f "$name: %e s, peak %M KB resident" "$@" &
    timer=$!
    while kill -0 "$timer" 2>/dev/null; do
        now=$(awk '/^RssAnon/ {print $2}' "/proc/$(pgrep -P "$timer")/status" 2>/dev/null || true)
        [ "${now:-0}" -le "$anonymous" ] || anonymous=$now
        sleep 0.2
    done
    echo "$name: peak $anonymous KB allocated" >&2
    wait "$timer"
}

size() { stat -c 'file: %n %s bytes' "$@"; }

# checkpoint KIND: makes the checkpoint where it is not there.
checkpoint() {
    local kind=$1 layers=()
    case $kind in mllm-l*) layers=(--layers "${kind#mllm-l}") ;; esac
    [ -d "$dir/$kind" ] ||
        "$python" "$shared/reference/make_checkpoint.py" "${kind%-l[0-9]*}" "$dir/$kind" "${layers[@]}"
}

# cases KIND: writes the cases to embed, and prints their file.
cases() {
    case $1 in
    clip-*) echo "$shared/fixtures/cases_clip.jsonl" ;;
    *) # the published example, one candidate with both, and texts
        grep -E '"id": "(query/seed|candidate/(1|2|both|long_text)|query/empty_instruction|query_text/(seed|cjk|emoji)|candidate_text/(seed|digits))"' \
            "$shared/fixtures/cases_mllm.jsonl" >"$dir/$1.cases.jsonl"
        echo "$dir/$1.cases.jsonl"
        ;;
    esac
}

# cosines KIND: every type against the reference in float32.
cosines() {
    local kind=$1 goldens=$dir/$1.golden.jsonl cases gguf
    cases=$(cases "$kind")
    mkdir -p "$dir/$kind-gguf"
    [ -f "$goldens" ] || "$python" "$shared/reference/golden.py" "$dir/$kind" "$cases" "$goldens" --images "$images"
    for type in "${types[@]}"; do
        gguf=$dir/$kind-gguf/$kind-$type.gguf
        echo "== $kind $type"
        [ -f "$gguf" ] || measured convert bin/bgevl convert "$dir/$kind" -o "$gguf" --type "$type"
        rm -f "$dir/$kind-$type.jsonl"
        # Some cases are refused on purpose: exit status 3 says so, and compare holds them to the goldens.
        measured embed bin/bgevl embed -m "$gguf" --input "$cases" --image-root "$images" \
            --output "$dir/$kind-$type.jsonl" || [ $? -eq 3 ]
        "$dir/compare" "$goldens" "$dir/$kind-$type.jsonl"
        measured "embed one text" bin/bgevl embed -m "$gguf" --text x >/dev/null
        size "$gguf"
    done
}

# example KIND: the published example with the whole model, in the types that fit a small machine.
example() {
    local kind=$1 gguf=$dir/$1-gguf photos=$images/photos
    mkdir -p "$gguf"
    if [ ! -f "$gguf/$kind-q8_0.gguf" ] || [ ! -f "$gguf/$kind-q4_k_m.gguf" ]; then
        echo "== $kind"
        measured convert bin/bgevl convert "$dir/$kind" -o "$gguf/$kind.gguf" --type q8_0,q4_k_m
    fi
    size "$gguf"/*.gguf
    for type in q4_k_m q8_0; do
        echo "== $kind $type"
        measured "embed one text" bin/bgevl embed -m "$gguf/$kind-$type.gguf" --role candidate \
            --text "a black dog runs through the snow" >/dev/null
        measured "query with a picture against two pictures" bin/bgevl score -m "$gguf/$kind-$type.gguf" \
            --instruction "Retrieve the target image that best meets the combined criteria by using both the provided image and the image retrieval instructions: " \
            --text "Make the background dark, as if the camera has taken the photo at night" \
            --image "$photos/cir_query.png" "$photos/cir_candi_1.png" "$photos/cir_candi_2.png"
    done
}

for kind in "${@:-clip-base}"; do
    checkpoint "$kind"
    case $kind in
    mllm) example "$kind" ;;
    *) cosines "$kind" ;;
    esac
done
