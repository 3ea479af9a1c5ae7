#!/usr/bin/env bash
# The main job, once through: a checkpoint is converted, and pictures are ranked by how well they match a query of a
# picture and a text. usage: tools/demo.sh [file.gguf | checkpoint's folder]; without one, weights are random.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
given=${1:-}
work=build/demo
mkdir -p "$work"

# show prints a command as it could be typed, and runs it.
show() {
    local word line='$'
    for word in "$@"; do
        case $word in
        *[!A-Za-z0-9_./=:-]*) line+=" \"$word\"" ;;
        *) line+=" $word" ;;
        esac
    done
    printf '\n%s\n' "$line"
    "$@"
}

random=
if [ -z "$given" ]; then
    random=1
    given=$work/random-clip
    echo "No MODEL was given: making a small CLIP checkpoint with RANDOM WEIGHTS in $given."
    "$go" run -buildvcs=false ./tools/demo -o "$given"
fi
if [ -d "$given" ]; then
    model=$work/$(basename "$given")-f16.gguf
    show bin/bgevl convert "$given" -o "$model" --type f16 --force
elif [ -f "$given" ]; then
    model=$given
else
    echo "demo: $given: no such file or folder: MODEL is a GGUF file or a checkpoint's folder" >&2
    exit 1
fi

photos=${BGEVL_SHARED:-../shared}/fixtures/images/photos
if [ -f "$photos/cir_query.png" ]; then
    query=$photos/cir_query.png
    candidates=("$photos"/cir_candi_*.png "$photos"/0*.jpg)
    text='Make the background dark, as if the camera has taken the photo at night'
else
    query=examples/pictures/harbour_day.jpg
    candidates=(examples/pictures/harbour_night.jpg examples/pictures/{balloon,street}.png examples/pictures/{desert,forest}.jpg)
    text='the same harbour at night'
fi

show bin/bgevl score -m "$model" --image "$query" --text "$text" "${candidates[@]}"

printf '%s\n' "{\"id\": \"query\", \"image\": \"$(basename "$query")\", \"text\": \"$text\"}" \
    '{"id": "words", "text": "a sailing boat before a village"}' >"$work/inputs.jsonl"
show bin/bgevl embed -m "$model" --input "$work/inputs.jsonl" --image-root "$(dirname "$query")" --output "$work/embeddings.jsonl"
cut -c 1-76 "$work/embeddings.jsonl" | sed 's/$/ .../'

if [ -n "$random" ]; then
    printf '%s\n' '' \
        'These weights are RANDOM: the order above says nothing about the pictures, only that' \
        'everything runs. For a real ranking: make demo MODEL=path/to/BGE-VL-base'
fi
