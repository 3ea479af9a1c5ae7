#!/usr/bin/env bash
# Times this project and its peers on the same checkpoint, one after another in the same run: machines differ and are
# noisy, so that only the ratio counts.
#
#   bench/peers.sh CHECKPOINT [PEER ...]
#
# CHECKPOINT is a CLIP checkpoint's folder. PEERs are those of reference/peer_clip.py in the reference fixtures (torch,
# torchbf16, ort, ortint8, ov, ovbf16, ovint8); PYTHON has their packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

checkpoint=$1
shift
peers=("${@:-torchbf16}")
shared=${BGEVL_SHARED:-../shared}
gguf=build/bench/$(basename "$checkpoint")-f16.gguf

make -s build
mkdir -p build/bench
[ -f "$gguf" ] || bin/bgevl convert "$checkpoint" -o "$gguf" --type f16

ours() { BGEVL_BENCH_MODEL=$gguf go test -run '^$' -bench '/f16/' -benchtime 5x ./bench | grep items/s; }

ours
for peer in "${peers[@]}"; do
    for batch in 1 8; do
        echo "$peer, batch $batch:"
        "${PYTHON:-python3}" "$shared/reference/peer_clip.py" "$peer" "$checkpoint" "$batch"
    done
done
ours # again: the machine may have changed meanwhile
