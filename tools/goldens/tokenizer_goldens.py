"""Remake the goldens of internal/tokenizer: small vocabularies of our own, and the reference's ids of 10,000 texts.

    USE_TORCH=0 python tokenizer_goldens.py CHECKPOINTS

CHECKPOINTS is the folder of the four small checkpoints, whose vocabularies are the real ones. Needs transformers
4.45.2, tokenizers 0.20.3, sentencepiece and protobuf; only needed to remake the goldens, never by a build or a test.

testdata/NAME.ids holds four bytes a text: the start of the SHA-256 of its ids, each as four bytes, little end first.
"""
import collections
import hashlib
import io
import json
import pathlib
import struct
import sys

import sentencepiece
from tokenizers import AddedToken
from transformers import AutoTokenizer, CLIPTokenizerFast, LlamaTokenizerFast

import tokenizer_texts as T

SMALL_MERGES = 400
SMALL_PIECES = 700
PROSE = """A small brown dog runs along the beach while the sun goes down behind the hills. Two children are building a
castle out of wet sand, and their mother takes a photo of it. In the picture there is a red boat, a blue umbrella and
a yellow ball. The same scene at night, with the lights of the town on the water. Make the background dark, as if the
camera had taken the photo at night. Find an image that is similar to this one but with a black cat on a white sofa.
The street is wet after the rain; people walk with umbrellas, and a man on a bicycle waits for the green light. A
woman in a long dress stands by the window and reads a letter. It's a quiet morning, they're having breakfast, and
we'll see them again later. Don't change the colour of the wall, I'd like it as it is. The train leaves at 10:45 and
arrives at 13:20; tickets cost $56.78 each, or 1,000 for twenty. Ein kleiner Hund läuft über die Straße, und der
Himmel ist grün. Une photo d'une forêt en été, déjà vue près du café. Una imagen de una montaña con niebla, señor.
Маленькая собака бежит по берегу моря. Μια μικρή σκύλα τρέχει. 一只黑色的狗在雪地里奔跑。小さな犬が海辺を走る。
작은 개가 해변을 달린다. كلب صغير يجري على الشاطئ. कुत्ता दौड़ता है।
""".replace("\n", " ")


def byte_chars():
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    return {**{b: chr(b) for b in shown}, **{b: chr(256 + i) for i, b in enumerate(hidden)}}, shown + hidden


def learn_clip(folder):
    """A byte-level BPE of CLIP's kind, learned from PROSE."""
    chars, order = byte_chars()
    words = collections.Counter()
    for word in PROSE.lower().split():
        run = ""
        for c in word:  # letters apart from the rest, as CLIP's words are
            if run and run[-1].isalpha() != c.isalpha():
                words[run] += 1
                run = ""
            run += c
        words[run] += 1
    split = {w: tuple(chars[b] for b in w.encode())[:-1] + (chars[w.encode()[-1]] + "</w>",) for w in words}
    merges = []
    while len(merges) < SMALL_MERGES:
        pairs = collections.Counter()
        for w, parts in split.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += words[w]
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for w, parts in split.items():
            out, i = [], 0
            while i < len(parts):
                if parts[i:i + 2] == best:
                    out.append(best[0] + best[1])
                    i += 2
                else:
                    out.append(parts[i])
                    i += 1
            split[w] = tuple(out)
    tokens = [chars[b] for b in order] + [chars[b] + "</w>" for b in order] + [a + b for a, b in merges]
    tokens = list(dict.fromkeys(tokens)) + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return CLIPTokenizerFast.from_pretrained(folder)


def learn_mistral(folder, legacy):
    """A sentencepiece BPE with byte fallback, learned from PROSE."""
    folder.mkdir(exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PROSE.split(". ")), model_writer=model, model_type="bpe", vocab_size=SMALL_PIECES,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, character_coverage=0.98, minloglevel=2)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    tok = LlamaTokenizerFast(vocab_file=str(folder / "tokenizer.model"), legacy=legacy, add_prefix_space=True)
    names = ["<image>", "<pad>"] if legacy else ["<image>", "<pad>", "<instruct>", "<query>"]
    tok.add_tokens([AddedToken(n, normalized=False, special=True) for n in names], special_tokens=True)
    tok.save_pretrained(folder)
    for unneeded in ("special_tokens_map.json", "added_tokens.json"):
        (folder / unneeded).unlink(missing_ok=True)
    return AutoTokenizer.from_pretrained(folder)


def with_options(name):
    """A small tokenizer with added tokens of every kind."""
    tok = AutoTokenizer.from_pretrained(T.TESTDATA / name)
    token = lambda content, **o: AddedToken(content, **{"normalized": False, **o})
    tok.add_tokens([
        token("cat", single_word=True, normalized=True), token("The", single_word=True), token("dog", lstrip=True),
        token("_", rstrip=True), token("[INST]", lstrip=True, rstrip=True), token("'s", normalized=True),
        token("'", single_word=True, lstrip=True, rstrip=True), token("e\u0301", normalized=True), token("É", normalized=True),
        token("--", rstrip=True), token("---"), token("犬", single_word=True), token(" x", lstrip=True), token("1", single_word=True),
        token("!", lstrip=True, normalized=True), token("!!", rstrip=True, normalized=True)])
    folder = T.TESTDATA / (name + "-options")
    folder.mkdir(exist_ok=True)
    file = str(folder / "tokenizer.json")
    tok.backend_tokenizer.save(file, pretty=False)
    return type(tok)(tokenizer_file=file)  # the file lists added tokens by id, and the first of two counts


def main():
    texts = T.texts()
    checkpoints = pathlib.Path(sys.argv[1])
    tokenizers = {name: AutoTokenizer.from_pretrained(checkpoints / name) for name in
                  ("clip-base-tiny", "clip-large-tiny", "mllm-tiny", "mllm-tiny-v15")}
    tokenizers["small-clip"] = learn_clip(T.TESTDATA / "small-clip")
    tokenizers["small-mistral"] = learn_mistral(T.TESTDATA / "small-mistral", True)
    tokenizers["small-mistral-first"] = learn_mistral(T.TESTDATA / "small-mistral-first", False)
    for name in ("small-clip", "small-mistral"):
        tokenizers[name + "-options"] = with_options(name)
    for name, tok in tokenizers.items():
        assert tok.is_fast
        sums = bytearray()
        decoded = hashlib.sha256()
        for ids in tok(texts)["input_ids"]:
            sums += hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).digest()[:4]
            decoded.update(tok.decode(ids).encode() + b"\0")
        (T.TESTDATA / f"{name}.ids").write_bytes(sums)
        (T.TESTDATA / f"{name}.decoded").write_text(decoded.hexdigest() + "\n")
        print(name, len(tok), decoded.hexdigest()[:12])


if __name__ == "__main__":
    main()
