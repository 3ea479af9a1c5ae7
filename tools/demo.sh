#!/usr/bin/env bash
# The main job, once through: a checkpoint is converted, a folder of pictures becomes a file of embeddings, and queries of a
# picture and a text are ranked against it. usage: tools/demo.sh [file.gguf | checkpoint's folder]
# Without an argument it takes the small trained models of examples/models and draws a sheet of what they find. With one
# it ranks photographs, where there are some, since real models know them better than drawings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
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

# drawn shows one of the repository's own models, on drawn pictures. In networks so small more threads mostly wait.
drawn() {
    local name=$1 model=$work/$1.gguf
    show bin/bgevl convert "examples/models/$name" -o "$model" --force
    show bin/bgevl embed -m "$model" --threads 1 --input $work/pictures.jsonl --image-root $work/pictures --output "$work/$name.pictures.jsonl"
    show bin/bgevl embed -m "$model" --threads 1 --input $work/queries.jsonl --image-root $work/pictures --output "$work/$name.queries.jsonl"
    show $work/demo sheet $work "$name"
}

# given shows a model that somebody has.
given() {
    local model=$1
    if [ -d "$model" ]; then
        model=$work/$(basename "$model")-f16.gguf
        show bin/bgevl convert "$1" -o "$model" --type f16 --force
    elif [ ! -f "$model" ]; then
        echo "demo: $model: no such file or folder: MODEL is a GGUF file or a checkpoint's folder" >&2
        exit 1
    fi
    local photos=${BGEVL_SHARED:-../shared}/fixtures/images/photos
    local query=examples/pictures/harbour_day.jpg text='the same harbour at night'
    local candidates=(examples/pictures/harbour_night.jpg examples/pictures/{balloon,street}.png examples/pictures/{desert,forest}.jpg)
    if [ -f "$photos/cir_query.png" ]; then
        query=$photos/cir_query.png
        text='Make the background dark, as if the camera has taken the photo at night'
        candidates=("$photos"/cir_candi_*.png "$photos"/0*.jpg)
    fi
    show bin/bgevl score -m "$model" --task composed-retrieval --image "$query" --text "$text" "${candidates[@]}"
}

if [ -n "${1:-}" ]; then
    given "$1"
    exit
fi
# With the flag that make build has, so that no package is compiled a second time.
"$go" build -buildvcs=false -trimpath -o $work/demo ./tools/demo
show $work/demo draw $work
sheets=()
for model in examples/models/*/; do
    drawn "$(basename "$model")"
    sheets+=("$work/$(basename "$model").png")
done
printf '\n%s\n' 'These small models know drawn shapes and nothing else. Look at what they found:'
printf '    %s\n' "${sheets[@]}"
echo 'A model that knows the world: make demo MODEL=path/to/BGE-VL-base'
echo 'The same in a page, to play with: bin/bgevl serve'
