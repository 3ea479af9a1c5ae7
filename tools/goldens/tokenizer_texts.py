"""The 10,000 texts that the tokenizers are compared on, and a small text of our own to learn small vocabularies from.

internal/tokenizer/parity_test.go makes the same texts from the same testdata/texts.json, step by step: what is changed
here must be changed there.
"""
import json
import pathlib

COUNT = 10_000
MASK = (1 << 64) - 1
TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "internal" / "tokenizer" / "testdata"


class Random:
    """splitmix64"""

    def __init__(self, seed):
        self.state = seed & MASK

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % n


def char(c):
    return "\ufffd" if 0xD800 <= c <= 0xDFFF else chr(c)


def text(alphabet, index):
    """The text of an index. A byte that is no UTF-8 is U+FFFD here, and that byte in Go."""
    r = Random(index * 0x2545F4914F6CDD1D)
    pieces = 1 + r.below(12)
    if r.below(50) == 0:
        pieces *= 8
    out = []
    for _ in range(pieces):
        kind = r.below(16)
        if kind < 5:
            out.append(alphabet["fragments"][r.below(len(alphabet["fragments"]))])
        elif kind < 11:
            lo, hi = alphabet["ranges"][r.below(len(alphabet["ranges"]))]
            for _ in range(1 + r.below(7)):
                out.append(char(lo + r.below(hi - lo + 1)))
        elif kind < 12:
            out.append(char(r.below(0x110000)))
        elif kind < 13:
            lo, hi = alphabet["marks"][r.below(len(alphabet["marks"]))]
            n = 1 + r.below(4)
            if r.below(20) == 0:
                n += 40
            for _ in range(n):
                out.append(char(lo + r.below(hi - lo + 1)))
        elif kind < 15:
            for _ in range(1 + r.below(9)):
                out.append(chr(0x20 + r.below(0x5F)))
        else:
            out.append("\ufffd" * len(alphabet["invalid"][r.below(len(alphabet["invalid"]))]))
        if r.below(2) == 0:
            out.append(" ")
    return "".join(out)


def alphabet():
    return json.loads((TESTDATA / "texts.json").read_text())


def texts():
    a = alphabet()
    return [text(a, i) for i in range(COUNT)]
