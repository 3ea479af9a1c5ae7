"""Make the golden of greedy generation and of hidden states, with transformers 4.45.2 as the reference.

    python generate.py FIXTURES OUT.json

FIXTURES is the folder that holds checkpoints/mllm-tiny, checkpoints/mllm-tiny-v15 and images. OUT.json is
tests/testdata/mllm-generate.golden.json. Needs torch 2.8, transformers 4.45.2 and pillow 13; only needed to remake the
golden, never by a build or a test.

Everything is in float32. A prompt is given to the tokenizer as it stands (it adds <s> in front); an image goes through
LlavaNextProcessor as the file has it, converted to RGB, WITHOUT the resize to 512x512 that a BGE-VL embedding does
first. Of every case:

  prompt_ids   the prompt's ids, <image> once
  positions    how many positions the prompt takes after <image> is expanded
  ids          what generate(do_sample=False, max_new_tokens=32) gives
  text         what those ids add to the prompt's text: decode(prompt + ids) less decode(prompt)
  decoded      decode(ids) alone, which drops the first token's space
  margin       the smallest distance between the best and the second best logit over the steps
  hidden       the last hidden state, after the final RMS norm, at some positions of the expanded prompt

No end-of-text token ends a generation: these checkpoints' generation_config.json names none, and none comes up.
The script fails where a margin is so small that another order of summation could change a token, and where generation
with a cache and one full pass over prompt and result disagree.
"""
import json
import pathlib
import sys

import torch
from PIL import Image
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

CHECKPOINTS = ["mllm-tiny", "mllm-tiny-v15"]
NEW_TOKENS = 32
LEAST_MARGIN = 1e-3  # float32 sums in another order move these logits by about 1e-5
CASES = [
    {"id": "plain", "prompt": "Once upon a time there was"},
    {"id": "instruction", "prompt": "[INST] Write a short poem about the sea. [/INST]"},
    {"id": "code", "prompt": "for i in range(10):\n\tprint(i)"},
    {"id": "multilingual", "prompt": "Ein kleiner Hund läuft über die Straße. 一只黑色的狗在雪地里奔跑。 Маленькая собака 🌇"},
    {"id": "image", "prompt": "[INST] <image>\nDescribe the picture. [/INST]", "image": "rgb.png"},
]


def excerpt(values):
    return [float(f"{v:.7g}") for v in values.tolist()]


def wanted(positions):
    """Positions whose hidden state is kept: the first after <s>, one in the middle, the last."""
    return [1, positions // 2, positions - 1]


def run(model, processor, case, images):
    tokenizer = processor.tokenizer
    prompt_ids = tokenizer(case["prompt"])["input_ids"]
    if "image" in case:
        image = Image.open(images / case["image"]).convert("RGB")
        inputs = processor(images=[image], text=[case["prompt"]], return_tensors="pt")
    else:
        inputs = processor(text=[case["prompt"]], return_tensors="pt")
    positions = inputs["input_ids"].shape[1]
    out = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, output_logits=True,
                         return_dict_in_generate=True)
    ids = out.sequences[0, positions:].tolist()
    best = torch.stack(out.logits)[:, 0].topk(2).values
    margin = float((best[:, 0] - best[:, 1]).min())
    if tokenizer.eos_token_id in ids:
        raise SystemExit(f"{case['id']}: ends in {ids}: choose another prompt")
    if margin < LEAST_MARGIN:
        raise SystemExit(f"{case['id']}: a margin of {margin}: choose another prompt")

    whole = {**inputs, "input_ids": out.sequences, "attention_mask": torch.ones_like(out.sequences)}
    full = model(**whole, output_hidden_states=True)
    again = full.logits[0, positions - 1:-1].argmax(-1).tolist()
    if again != ids:
        raise SystemExit(f"{case['id']}: one full pass gives {again}, generation {ids}")
    states = full.hidden_states[-1][0]

    decode = lambda i: tokenizer.decode(i, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    before, after = decode(prompt_ids), decode(prompt_ids + ids)
    if not after.startswith(before):
        raise SystemExit(f"{case['id']}: the prompt's text changes with what follows")
    return {**case, "prompt_ids": prompt_ids, "positions": positions, "ids": ids, "text": after[len(before):],
            "decoded": decode(ids), "margin": float(f"{margin:.4g}"),
            "hidden": [{"position": p, "state": excerpt(states[p])} for p in wanted(positions)]}


def main():
    fixtures = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    result = {}
    with torch.no_grad():
        for name in CHECKPOINTS:
            path = fixtures / "checkpoints" / name
            model = LlavaNextForConditionalGeneration.from_pretrained(path, torch_dtype=torch.float32).eval()
            processor = LlavaNextProcessor.from_pretrained(path)
            result[name] = [run(model, processor, case, fixtures / "images") for case in CASES]
            print(name, [c["margin"] for c in result[name]], [c["positions"] for c in result[name]])
    # One case a line: a remade golden then shows what changed.
    text = ",\n".join(f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]"
                      for name, cases in result.items())
    pathlib.Path(sys.argv[2]).write_text("{\n" + text + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
