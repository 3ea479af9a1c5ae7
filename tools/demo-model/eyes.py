"""Trains the vision tower that both demo models have, to read off the attributes of drawn pictures.

    go run ./tools/demo-model                       # draws build/demo-data
    python tools/demo-model/eyes.py                 # writes build/demo-data/eyes.pt

Needs torch 2.8, transformers 4.45 and numpy; see README.md beside this file.
"""
import math
import pathlib

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from common import SIDE, Data, Heads, Trainer, arguments, normalise

PATCH, WIDTH = 16, 128


def new_tower():
    tower = CLIPVisionModel(CLIPVisionConfig(hidden_size=WIDTH, intermediate_size=512, num_attention_heads=4, num_hidden_layers=3,
                                             image_size=SIDE, patch_size=PATCH, projection_dim=WIDTH))
    # Positions begin as waves along x and y, as loud as the patches: where a patch lies need not be learned first.
    rates = math.pi / 2 / 100 ** (torch.arange(WIDTH // 4) / (WIDTH // 4))
    y, x = torch.meshgrid(torch.arange(SIDE // PATCH), torch.arange(SIDE // PATCH), indexing="ij")
    waves = [f(p.reshape(-1, 1) * rates) for p in (x, y) for f in (torch.sin, torch.cos)]
    with torch.no_grad():
        tower.vision_model.embeddings.position_embedding.weight[1:] = 0.5 * torch.cat(waves, 1)
    return tower


def main():
    a = arguments(__doc__, epochs=2, batch=100, batch_help="pictures")
    data = Data(a.data)
    scenes = torch.tensor([[r["source"], r["target"], r["target"]] for r in data.records]).flatten(0, 1)
    pictures = torch.from_numpy(data.pixels).flatten(0, 1)
    tower, heads = new_tower(), Heads(WIDTH)
    each = len(pictures) // a.batch
    trainer = Trainer([tower, heads], each * a.epochs)
    for _ in range(a.epochs):
        for rows in torch.randperm(len(pictures))[:each * a.batch].split(a.batch):
            loss, right = heads(tower(normalise(pictures[rows])).pooler_output, scenes[rows])
            trainer.step(loss, lambda: f"loss {loss:.3f} read right {right}")
            if trainer.at % 100 == 0:
                torch.save(tower.state_dict(), pathlib.Path(a.data) / "eyes.pt")
    torch.save(tower.state_dict(), pathlib.Path(a.data) / "eyes.pt")


if __name__ == "__main__":
    main()
