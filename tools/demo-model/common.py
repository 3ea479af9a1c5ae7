"""What eyes.py, clip.py and mllm.py share: the data, the losses, and the steps."""
import argparse
import collections
import json
import math
import pathlib
import random
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SIDE = 96  # of a picture
VALUES = [8, 8, 4, 3, 4, 5, 5, 2]  # of each attribute, as internal/scenes has them


def arguments(doc, epochs, batch, batch_help, out=None):
    """The options of a training script, and the seed and threads set as they say. out is where the model goes."""
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", default="build/demo-data")
    if out:
        ap.add_argument("--out", default=out)
    ap.add_argument("--epochs", type=int, default=epochs)
    ap.add_argument("--batch", type=int, default=batch, help=batch_help)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    return a


Batch = collections.namedtuple("Batch", "rows drawings scenes captions mentioned edits")


class Data:
    """Records and pictures that `go run ./tools/demo-model` wrote."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.records = [json.loads(line) for line in open(folder / "records.jsonl")]
        self.pixels = np.fromfile(folder / "pictures.raw", dtype=np.uint8).reshape(len(self.records), 3, SIDE, SIDE, 3)

    def texts(self):
        """Every text, for a tokenizer to be learned from."""
        for r in self.records:
            for i in range(2):
                yield from r["captions"][i]
                yield from (m["text"] for m in r["mentions"][i])
                yield from r["edits"][i]

    def batches(self, size, epochs, seed):
        """Batches of records, in another order each epoch."""
        rnd = random.Random(seed)
        order = list(range(len(self.records)))
        for _ in range(epochs):
            rnd.shuffle(order)
            for i in range(0, len(order) - size + 1, size):
                yield self.batch(order[i:i + size], rnd)

    def batch(self, rows, rnd):
        """Scenes and texts of the records: of all sources first, then of all targets. A caption says all of its scene or,
        less often, some; mentioned says what. drawings are which of its two a target has."""
        records = [self.records[i] for i in rows]
        drawings = [rnd.randint(1, 2) for _ in rows]
        captions, edits = [], []
        mentioned = torch.zeros(2 * len(rows), len(VALUES), dtype=torch.bool)
        for side in range(2):
            for r in records:
                if rnd.random() < 0.7:
                    mentioned[len(captions)] = True
                    captions.append(rnd.choice(r["captions"][side]))
                else:
                    m = rnd.choice(r["mentions"][side])
                    mentioned[len(captions), m["said"]] = True
                    captions.append(m["text"])
                edits.append(rnd.choice(r["edits"][side]))
        scenes = torch.tensor([r["source"] for r in records] + [r["target"] for r in records])
        return Batch(rows, drawings, scenes, captions, mentioned, edits)


def contrast(queries, candidates, target, scale, same):
    """Cross-entropy of each query's own candidate against all, but for those that are as right: same says which."""
    logits = scale * F.normalize(queries, dim=-1) @ F.normalize(candidates, dim=-1).T
    same = same.clone()
    same[torch.arange(len(target)), target] = False
    return F.cross_entropy(logits.masked_fill(same, -math.inf), target)


def retrieval_losses(images, captions, composed, scenes, mentioned, scale):
    """The losses of text to image, image to text and composed retrieval. A composed query of row i asks for row i's
    partner, half the batch away."""
    n = len(scenes)
    own, partner = torch.arange(n), torch.arange(n).roll(n // 2)
    equal = scenes[:, None] == scenes[None]
    fits = (equal | ~mentioned[:, None]).all(-1)  # fits[i, j]: caption i is right of picture j
    same = equal.all(-1)
    return (contrast(captions, images, own, scale, fits), contrast(images, captions, own, scale, fits.T),
            contrast(composed, images, partner, scale, same[partner]))


class Heads(nn.Module):
    """Reads the attributes off an embedding. What it learns from goes on to be of use; it is thrown away itself."""

    def __init__(self, width):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, n) for n in VALUES)

    def forward(self, embeddings, scenes):
        """The mean loss, and the share that was right of each attribute."""
        read = [h(embeddings) for h in self.heads]
        loss = sum(F.cross_entropy(r, scenes[:, i]) for i, r in enumerate(read)) / len(read)
        return loss, " ".join(f"{(r.argmax(-1) == scenes[:, i]).float().mean():.2f}" for i, r in enumerate(read))


class Muon(torch.optim.Optimizer):
    """Momentum whose step for a matrix is made orthogonal by five Newton-Schulz iterations: it takes half the pictures that
    Adam does."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(mean, group["momentum"])
                tall = x.shape[0] > x.shape[1]
                x = (x.T if tall else x) / (x.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                p.mul_(1 - 0.01 * group["lr"])
                p.add_(x.T if tall else x, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


class Trainer:
    """Takes steps: the inner layers' matrices by Muon, all else by Adam. The rate goes up in a line, stays, and goes down in
    a line over the last half."""

    def __init__(self, modules, steps, muon=0.02, adam=2e-3):
        named = [(n, p) for m in modules for n, p in m.named_parameters() if p.requires_grad]
        inner = [p for n, p in named if p.dim() == 2 and ".layers." in n]
        outer = [p for n, p in named if not (p.dim() == 2 and ".layers." in n)]
        self.optimizers = [Muon(inner, lr=muon), torch.optim.AdamW(outer, lr=adam, betas=(0.9, 0.98), weight_decay=0.01)]
        self.rates, self.steps, self.at, self.start = [muon, adam], steps, 0, time.time()

    def step(self, loss, said):
        """One step down the loss. What said returns is printed now and then."""
        share = min(1, (self.at + 1) / 50, 2 * (self.steps - self.at) / self.steps)
        for o, rate in zip(self.optimizers, self.rates):
            o.param_groups[0]["lr"] = rate * share
            o.zero_grad()
        loss.backward()
        for o in self.optimizers:
            o.step()
        if self.at % 20 == 0 or self.at == self.steps - 1:
            print(f"{self.at}/{self.steps} {time.time() - self.start:.0f}s {said()}", flush=True)
        self.at += 1


MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def normalise(pixels):
    """Bytes, channels last, to what the vision tower reads, channels first."""
    return ((pixels.float() / 255 - MEAN) / STD).movedim(-1, -3).contiguous()
