#!/bin/sh
# Makes tests/testdata/clip-small and its goldens: a small CLIP checkpoint with random weights, and the embeddings that
# the reference computes with it. Run from the project's root, with a Python that has ../shared/reference/requirements.txt.
#
#   PYTHON=/path/to/python tools/goldens/clip.sh
set -eu
shared=${BGEVL_SHARED:-../shared}
data=tests/testdata
go run ./tools/goldens/clipsmall $data/clip-small
"${PYTHON:-python3}" "$shared/reference/golden.py" $data/clip-small $data/clip-small.cases.jsonl \
    $data/clip-small.golden.jsonl --images examples/pictures
