"""Trains the demo model of CLIP's geometry and saves it as the hub has such checkpoints.

    go run ./tools/demo-model                      # draws build/demo-data
    python tools/demo-model/clip.py                 # writes examples/models/demo-clip

Needs torch 2.8, transformers 4.45 and numpy; see README.md beside this file.
"""
import json
import pathlib
import tempfile

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer

from common import SIDE, Data, Heads, Trainer, arguments, normalise, retrieval_losses
from eyes import WIDTH, new_tower

CONTEXT = 77  # of a text, in tokens, as CLIP has it


def learn_tokenizer(texts, merges=400):
    """A vocabulary in CLIP's order: bytes, bytes that end a word, merges, and two special tokens."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=100 + merges, end_of_word_suffix="</w>", show_progress=False))
    learned = [m if isinstance(m, list) else m.split() for m in json.loads(bpe.to_str())["model"]["merges"]]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m) for m in learned] + ["<|startoftext|>", "<|endoftext|>"]
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in learned))
    return CLIPTokenizer(folder / "vocab.json", folder / "merges.txt", model_max_length=CONTEXT)


def new_model(vocabulary, eyes):
    text = CLIPTextConfig(vocab_size=vocabulary, hidden_size=96, intermediate_size=384, num_attention_heads=3, num_hidden_layers=2,
                          max_position_embeddings=CONTEXT, projection_dim=WIDTH, bos_token_id=vocabulary - 2,
                          eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1)
    tower = new_tower()
    tower.load_state_dict(torch.load(eyes, weights_only=True))
    vision = tower.config
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
    model = CLIPModel(config)
    model.vision_model.load_state_dict(tower.vision_model.state_dict())
    model.vision_model.requires_grad_(False)
    return model


@torch.no_grad()
def looked_at(model, data):
    """What the vision tower makes of all pictures: records x 3 x width."""
    pictures = torch.from_numpy(data.pixels).flatten(0, 1)
    return torch.cat([model.vision_model(normalise(p)).pooler_output for p in pictures.split(500)]).unflatten(0, (-1, 3))


def train(model, tokenizer, data, a):
    heads, known = Heads(WIDTH), {}

    def embed(texts):
        for t in set(texts) - known.keys():
            known[t] = torch.tensor(tokenizer(t)["input_ids"])
        rows = nn.utils.rnn.pad_sequence([known[t] for t in texts], batch_first=True, padding_value=tokenizer.eos_token_id)
        return model.get_text_features(rows)

    seen = looked_at(model, data)
    trainer = Trainer([model, heads], len(data.records) // a.batch * a.epochs)
    for b in data.batches(a.batch, a.epochs, a.seed):
        images = model.visual_projection(torch.cat([seen[b.rows, 0], seen[b.rows, b.drawings]]))
        captions, edits = embed(b.captions), embed(b.edits)
        scale = model.logit_scale.exp().clamp(max=100)
        losses = retrieval_losses(images, captions, images + edits, b.scenes, b.mentioned, scale)
        reading, right = heads(images, b.scenes)
        trainer.step(losses[0] + losses[1] + 2 * losses[2] + reading, lambda: f"text {losses[0]:.3f} composed {losses[2]:.3f} "
                     f"attributes {reading:.3f} scale {scale:.1f} read right {right}")


def main():
    a = arguments(__doc__, epochs=5, batch=100, batch_help="records, of two pictures each", out="examples/models/demo-clip")
    data = Data(a.data)
    tokenizer = learn_tokenizer(data.texts())
    model = new_model(len(tokenizer), pathlib.Path(a.data) / "eyes.pt")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)
    train(model, tokenizer, data, a)
    model.half().save_pretrained(a.out)
    tokenizer.save_pretrained(a.out)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(a.out)


if __name__ == "__main__":
    main()
