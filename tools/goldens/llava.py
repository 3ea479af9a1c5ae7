"""Make the goldens of the LLaVA-NeXT image path, with transformers 4.45.2 as the reference.

    python llava.py OUT.json

For a list of image sizes and of grids: the resolution that is chosen, the features that are kept after unpadding, the
number that the processor counts, and for some the SHA-256 of the float32 pixels that LlavaNextImageProcessor makes of a
picture that the test makes too. The tests need neither Python nor this script.
"""
import hashlib
import json
import sys

import numpy as np
import torch
from PIL import Image
from transformers import LlavaNextImageProcessor
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape, unpad_image
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

GRIDS = [
    {"tile": 336, "side": 24, "pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]},
    {"tile": 28, "side": 2, "pinpoints": [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]},
    {"tile": 64, "side": 4, "pinpoints": [[64, 64], [64, 256], [256, 64], [128, 192]]},
]


def picture(w, h):
    """What the test draws too: every sample from a linear congruence over its index."""
    i = np.arange(w * h * 3, dtype=np.uint32)
    return Image.fromarray(((i * np.uint32(2654435761)) >> 24).astype(np.uint8).reshape(h, w, 3))


def pixels(grid, w, h):
    p = LlavaNextImageProcessor(size={"shortest_edge": grid["tile"]}, image_grid_pinpoints=grid["pinpoints"],
                                crop_size={"height": grid["tile"], "width": grid["tile"]})
    a = p(picture(w, h), return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    return hashlib.sha256(np.ascontiguousarray(a, dtype="<f4").tobytes()).hexdigest()


def case(grid, w, h, with_pixels):
    best = select_best_resolution([h, w], grid["pinpoints"])
    rows, cols = get_anyres_image_grid_shape((h, w), grid["pinpoints"], grid["tile"])
    n = grid["side"]
    y = torch.arange(rows * n)[:, None].expand(-1, cols * n)
    x = torch.arange(cols * n)[None, :].expand(rows * n, -1)
    kept = unpad_image(torch.stack([y, x]), (h, w))
    out = {"width": w, "height": h, "best": list(best), "rows": rows, "cols": cols, "kept": None}
    if kept.numel():
        out["kept"] = [int(kept[0].min()), int(kept[0].max()) + 1, int(kept[1].min()), int(kept[1].max()) + 1]
        p = LlavaNextProcessor.__new__(LlavaNextProcessor)
        a, b = p._get_unpadded_features(h, w, n, n, rows, cols)
        out["count"] = n * n + a + b
    # The reference takes the rows of a picture that is scaled to one row for its channels.
    if with_pixels and h > 1:
        out["pixels"] = pixels(grid, w, h)
    return out


def main():
    rng = np.random.RandomState(4)
    for g in GRIDS:
        sizes = [(512, 512), (1, 1), (1, 900), (900, 1), (640, 480), (480, 640), (1000, 333), (333, 1000), (336, 672)]
        sizes += [tuple(int(v) for v in rng.randint(1, 1500, 2)) for _ in range(120)]
        shown = set(sizes[:9] if g["tile"] != 336 else [(512, 512)])
        shown |= set(sizes[9:20]) if g["tile"] != 336 else set(sizes[9:12])
        g["cases"] = [case(g, w, h, (w, h) in shown) for w, h in sizes]
    with open(sys.argv[1], "w") as f:
        json.dump(GRIDS, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
