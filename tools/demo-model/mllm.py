"""Trains the demo model of LLaVA-NeXT's geometry, with instructions, and saves it as the hub has such checkpoints.

    python tools/demo-model/mllm.py                 # after eyes.py; writes examples/models/demo-mllm

As LLaVA does, it takes over a vision tower, that of eyes.py, and leaves it as it is: what is trained is the projector and the
decoder. Needs what eyes.py needs.
"""
import json
import pathlib

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import (LlavaNextConfig, LlavaNextForConditionalGeneration, LlavaNextImageProcessor, MistralConfig,
                          PreTrainedTokenizerFast)

from common import SIDE, Data, Heads, Trainer, arguments, contrast, normalise
from eyes import PATCH, WIDTH, new_tower

GRID = SIDE // PATCH  # patches a side
# A picture is resized to a square, so that of these the first is always taken: an overview, and one tile.
PINPOINTS = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE]]
# The names and the words of bgevl.Tasks.
INSTRUCTIONS = {
    "composed-retrieval": "Retrieve the target image that best meets the combined criteria by using both the provided image and the "
                          "image retrieval instructions: ",
    "caption-to-image": "Find me an everyday image that matches the given caption:",
    "image-to-image": "Find a day-to-day image that looks similar to the provided image.",
}


def prompt(task=None, text=None, image=True):
    """What BGE-VL's models are asked: without a task, a candidate's prompt."""
    s = f"[INST] \n <instruct> {INSTRUCTIONS[task]} <query> " if task else "[INST] "
    return s + (f" {text} \n" if text is not None else "") + (" <image>" if image else "") + " [/INST]"


def learn_tokenizer(texts, size=700):
    """tokenizer.json as Mistral's newer ones are: sentencepiece's BPE with byte fallback, here of few pieces."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    merges = [m if isinstance(m, list) else m.split() for m in json.loads(bpe.to_str())["model"]["merges"]]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["".join(m) for m in merges]
    pieces += ["\u2581"] + [chr(c) for c in range(ord("!"), ord("~") + 1)]
    added = ["<image>", "<pad>", "<instruct>", "<query>"]
    ids = {p: i for i, p in enumerate(pieces + added)}
    special = [{"id": ids[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for t in ["<unk>", "<s>", "</s>", *added]]
    bos, text = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False},
        "post_processor": {"type": "TemplateProcessing", "single": [bos, text],
                           "pair": [bos, text, {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [ids["<s>"]], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {p: ids[p] for p in pieces}, "merges": merges},
    }


def new_model(vocabulary, image_token, eyes):
    tower = new_tower()
    tower.load_state_dict(torch.load(eyes, weights_only=True))
    text = MistralConfig(vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=32, rope_theta=1e4, rms_norm_eps=1e-5, sliding_window=None,
                         max_position_embeddings=1024)
    config = LlavaNextConfig(vision_config=tower.config.to_dict(), text_config=text, image_token_index=image_token,
                             image_grid_pinpoints=PINPOINTS, projector_hidden_act="gelu", vision_feature_layer=-2,
                             vision_feature_select_strategy="default")
    model = LlavaNextForConditionalGeneration(config)
    model.vision_tower.vision_model.load_state_dict(tower.vision_model.state_dict())
    model.vision_tower.requires_grad_(False)
    nn.init.normal_(model.image_newline, std=0.02)
    return model


@torch.no_grad()
def features(tower, pictures):
    """What the decoder is to see of pictures: the states before the tower's last layer, without the class token."""
    return tower(normalise(torch.from_numpy(pictures)), output_hidden_states=True).hidden_states[-2][:, 1:]


class Reader(nn.Module):
    """Embeds prompts with pictures whose features are known."""

    def __init__(self, model, tokenizer):
        super().__init__()
        self.model, self.tokenizer, self.known = model, tokenizer, {}

    def ids(self, text):
        if text not in self.known:
            ids = self.tokenizer(text)["input_ids"]
            if self.model.config.image_token_index in ids:  # room for the overview, and rows with newlines
                at = ids.index(self.model.config.image_token_index)
                ids[at:at + 1] = [ids[at]] * (GRID * GRID + GRID * (GRID + 1))
            self.known[text] = torch.tensor(ids)
        return self.known[text]

    def forward(self, prompts, pictures=None):
        rows = [self.ids(p) for p in prompts]
        last = torch.tensor([len(r) - 1 for r in rows])
        # Padded on the right: nothing before a position depends on what follows it.
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        embeds = self.model.get_input_embeddings()(ids)
        if pictures is not None:
            overview = self.model.multi_modal_projector(pictures)
            tile = overview.unflatten(1, (GRID, GRID))
            newline = self.model.image_newline.expand(len(rows), GRID, 1, -1)
            packed = torch.cat([overview, torch.cat([tile, newline], 2).flatten(1, 2)], 1)
            embeds = embeds.masked_scatter((ids == self.model.config.image_token_index)[..., None], packed)
        states = self.model.language_model.model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return states[torch.arange(len(rows)), last]


def train(reader, data, a):
    heads, scale = Heads(WIDTH), nn.Parameter(torch.tensor(2.66))
    trainer = Trainer([reader, heads, nn.ParameterList([scale])], len(data.records) // a.batch * a.epochs)
    for b in data.batches(a.batch, a.epochs, a.seed):
        n, few = len(b.rows), len(b.rows) // 4
        seen = features(reader.model.vision_tower, np.concatenate([data.pixels[b.rows, 0], data.pixels[b.rows, 1],
                                                                   data.pixels[b.rows[:few], 2]]))
        candidates = reader([prompt()] * (2 * n), seen[:2 * n])
        composed = reader([prompt("composed-retrieval", t) for t in b.edits[:n]], seen[:n])
        texts = reader([prompt("caption-to-image", t, image=False) for t in b.captions[n:]])
        again = reader([prompt("image-to-image")] * few, seen[2 * n:])

        s, targets = scale.exp().clamp(max=100), torch.arange(n, 2 * n)
        equal = b.scenes[n:, None] == b.scenes[None]
        same, fits = equal.all(-1), (equal | ~b.mentioned[n:, None]).all(-1)
        losses = [contrast(texts, candidates, targets, s, fits), contrast(composed, candidates, targets, s, same),
                  contrast(again, candidates, targets[:few], s, same[:few])]
        reading, right = heads(candidates, b.scenes)
        changed, _ = heads(composed, b.scenes[n:])
        trainer.step(losses[0] + 2 * losses[1] + 0.5 * losses[2] + reading + changed, lambda: f"text {losses[0]:.3f} composed "
                     f"{losses[1]:.3f} image {losses[2]:.3f} attributes {reading:.3f} {changed:.3f} scale {s:.1f} read right {right}")


def save(model, tokenizer, out):
    # Without the output layer, which nothing here trains: the model embeds and predicts no text.
    weights = {k: v for k, v in model.half().state_dict().items() if "lm_head" not in k}
    model.save_pretrained(out, state_dict=weights)
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    (out / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    decoder = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in tokenizer["added_tokens"]}
    config = special | {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": False,
                        "padding_side": "left", "added_tokens_decoder": decoder}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    LlavaNextImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE},
                            image_grid_pinpoints=PINPOINTS).save_pretrained(out)


def main():
    a = arguments(__doc__, epochs=1, batch=32, batch_help="records", out="examples/models/demo-mllm")
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    data = Data(a.data)
    words = [prompt(task).replace("\n", "") for task in INSTRUCTIONS] * 1000
    tokenizer = learn_tokenizer([*data.texts(), *words])
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")
    fast = PreTrainedTokenizerFast(tokenizer_file=str(out / "tokenizer.json"))
    model = new_model(len(fast), fast.convert_tokens_to_ids("<image>"), pathlib.Path(a.data) / "eyes.pt")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(fast)} tokens", flush=True)
    reader = Reader(model, fast)
    train(reader, data, a)
    save(model, tokenizer, out)


if __name__ == "__main__":
    main()
