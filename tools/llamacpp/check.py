"""Load a converted model in llama.cpp and compare it with this project: tools/llamacpp/check.py NAME.gguf

    python -m venv VENV && CMAKE_ARGS=-DGGML_NATIVE=ON VENV/bin/pip install llama-cpp-python==0.3.36
    go build -o build/llamacpp ./tools/llamacpp
    VENV/bin/python tools/llamacpp/check.py NAME.gguf [--projector mmproj-NAME.gguf] [--ours build/llamacpp]

NAME.gguf and its mmproj (by default mmproj-NAME.gguf beside it) are loaded by llama.cpp unchanged. Compared are

  tokens     llama.cpp's own tokenisation of every prompt from the tokenizer.ggml.* keys. Only reported: llama.cpp adds a
             space after every special token, which tokenizers of the Metaspace kind do not.
  states     the last position's state after the final norm, of the same token ids: cosine
  overview   the features that llama.cpp's mtmd makes of a picture of a tile's size, which is not cut further: the lowest
             and the mean cosine over the vectors, and that of all of them as one vector. Twice, since llama.cpp (issue
             25814, still so in 0.3.36) puts the class token behind the patches but numbers positions and takes rows as
             if it came first: every patch gets its neighbour's position, and the class token is taken in place of the
             first patch. So the second time it is given a copy of the projector file whose position table is turned by
             one row, which makes up for the first half of that, and all patches but the first are compared. One of the
             two has to agree. llama.cpp's projector has the tanh approximation of GELU, the reference and this project
             the exact one.
  picture    the state of a prompt with this project's features of the picture in place of <image>

It exits with 1 where a file does not load or a cosine is below --min.
"""
import argparse
import ctypes
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import llama_cpp
from llama_cpp import mtmd_cpp

INSTRUCTION = "Find me an everyday image that matches the given caption."
PROMPTS = [
    "[INST]  Make the background dark, as if the camera has taken the photo at night \n [/INST]",
    "[INST] \n <instruct> " + INSTRUCTION + " <query>  a black dog runs through the snow \n [/INST]",
    "[INST]  Café déjà vu — naïve façade, Straße, İstanbul \n [/INST]",
    "[INST]  一只黑色的狗在雪地里奔跑 🌇 \n [/INST]",
]
PICTURE = "[INST]  <image> [/INST]"
GGML_TYPE_F32 = 0


class GgufParams(ctypes.Structure):
    """struct gguf_init_params of ggml's gguf.h."""

    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]


class Projector:
    """A projector file's tile size, and where its table of positions lies, by llama.cpp's own reader of GGUF."""

    def __init__(self, path):
        lib = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
        lib.gguf_init_from_file.restype = ctypes.c_void_p
        lib.gguf_find_key.restype = lib.gguf_find_tensor.restype = ctypes.c_int64
        lib.gguf_get_val_u32.restype = ctypes.c_uint32
        for f in (lib.gguf_get_tensor_offset, lib.gguf_get_data_offset, lib.gguf_get_tensor_size):
            f.restype = ctypes.c_size_t
        file = ctypes.c_void_p(lib.gguf_init_from_file(str(path).encode(), GgufParams(True, None)))
        if not file:
            sys.exit(f"{path}: ggml does not read it")
        u32 = lambda key: lib.gguf_get_val_u32(file, ctypes.c_int64(lib.gguf_find_key(file, key)))
        self.path, self.side = path, u32(b"clip.vision.image_size")
        self.positions = (self.side // u32(b"clip.vision.patch_size")) ** 2 + 1  # patches and the class token
        at = ctypes.c_int64(lib.gguf_find_tensor(file, b"v.position_embd.weight"))
        self.start = lib.gguf_get_data_offset(file) + lib.gguf_get_tensor_offset(file, at)
        self.size = lib.gguf_get_tensor_size(file, at)
        lib.gguf_free(file)

    def turned(self, copy):
        """Writes a copy of the file with the first row of its table of positions moved to the end."""
        raw = bytearray(self.path.read_bytes())
        row = self.size // self.positions
        table = raw[self.start:self.start + self.size]
        raw[self.start:self.start + self.size] = table[row:] + table[:row]
        copy.write_bytes(raw)
        return copy


def cosine(a, b):
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def draw(side):
    """A picture that is not the same everywhere: gradients, stripes and noise."""
    y, x = np.mgrid[0:side, 0:side]
    noise = np.random.default_rng(7).integers(0, 40, (side, side, 3))
    planes = np.stack([x * 215 // side, y * 215 // side, (x // 16 + y // 24) % 5 * 50], -1) + noise
    return np.ascontiguousarray(planes.astype(np.uint8))


def png(pixels):
    h, w, _ = pixels.shape
    rows = b"".join(b"\0" + pixels[i].tobytes() for i in range(h))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class LlamaCpp:
    """A model and a context that gives states after the final norm. Keys and values are kept in float32."""

    def __init__(self, path, context, threads):
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            sys.exit(f"{path}: llama.cpp does not load it")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = threads
        params.embeddings = True
        params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_NONE
        params.type_k = params.type_v = GGML_TYPE_F32
        params.flash_attn_type = 0
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit(f"{path}: llama.cpp makes no context for it")
        self.width = llama_cpp.llama_model_n_embd(self.model)

    def tokenize(self, text):
        raw = text.encode()
        out = (llama_cpp.llama_token * (len(raw) + 8))()
        n = llama_cpp.llama_tokenize(llama_cpp.llama_model_get_vocab(self.model), raw, len(raw), out, len(out), True, True)
        return list(out[:n])

    def decode(self, n, past, ids=None, rows=None):
        batch = llama_cpp.llama_batch_init(n, 0 if rows is None else self.width, 1)
        batch.n_tokens = n
        for i in range(n):
            if rows is None:
                batch.token[i] = ids[i]
            batch.pos[i] = past + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = i == n - 1
        if rows is not None:
            ctypes.memmove(batch.embd, rows.ctypes.data, rows.nbytes)
        status = llama_cpp.llama_decode(self.context, batch)
        llama_cpp.llama_batch_free(batch)
        if status != 0:
            sys.exit(f"llama_decode: status {status}")

    def state(self, ids, rows=None, image_token=-1):
        """The last position's state; rows take the place of the image token."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        past = 0
        if rows is not None:
            at = ids.index(image_token)
            self.decode(at, 0, ids=ids[:at])
            self.decode(len(rows), at, rows=np.ascontiguousarray(rows))
            past, ids = at + len(rows), ids[at + 1:]
        self.decode(len(ids), past, ids=ids)
        return np.ctypeslib.as_array(llama_cpp.llama_get_embeddings_ith(self.context, -1), (self.width,)).copy()


def mtmd_features(model, projector, pixels, threads):
    """What mtmd makes of a picture: the features of its first image chunk."""
    params = mtmd_cpp.mtmd_context_params_default()
    params.use_gpu = False
    params.n_threads = threads
    params.warmup = False
    context = mtmd_cpp.mtmd_init_from_file(str(projector).encode(), model.model, params)
    if not context:
        sys.exit(f"{projector}: llama.cpp does not load it")
    if not mtmd_cpp.mtmd_support_vision(context):
        sys.exit(f"{projector}: llama.cpp sees no vision encoder in it")
    h, w, _ = pixels.shape
    data = (ctypes.c_uint8 * pixels.nbytes).from_buffer_copy(pixels.tobytes())
    bitmap = mtmd_cpp.mtmd_bitmap_init(w, h, data)
    marker = mtmd_cpp.mtmd_default_marker()
    text = mtmd_cpp.mtmd_input_text(text=marker, text_len=len(marker), add_special=False, parse_special=True)
    chunks = mtmd_cpp.mtmd_input_chunks_init()
    bitmaps = (mtmd_cpp.mtmd_bitmap_p_ctypes * 1)(bitmap)
    if mtmd_cpp.mtmd_tokenize(context, chunks, ctypes.byref(text), bitmaps, 1) != 0:
        sys.exit("mtmd_tokenize failed")
    for i in range(mtmd_cpp.mtmd_input_chunks_size(chunks)):
        chunk = mtmd_cpp.mtmd_input_chunks_get(chunks, i)
        if mtmd_cpp.mtmd_input_chunk_get_type(chunk) != mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_IMAGE:
            continue
        if mtmd_cpp.mtmd_encode_chunk(context, chunk) != 0:
            sys.exit("mtmd_encode_chunk failed")
        n = mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk)
        out = mtmd_cpp.mtmd_get_output_embd(context)
        rows = np.ctypeslib.as_array(out, (n * model.width,)).copy().reshape(n, model.width)
        mtmd_cpp.mtmd_free(context)
        return rows
    sys.exit("mtmd made no image chunk of a picture")


def compare_rows(name, theirs, mine):
    each = [cosine(x, y) for x, y in zip(theirs, mine)]
    together = cosine(theirs, mine)
    print(f"  {name}: cosine {together:.7f}; of one vector at least {min(each):.7f}, mean {np.mean(each):.7f}")
    return together


def ours(program, model, picture, features):
    args = [program, "-m", str(model)]
    if picture:
        args += ["-image", str(picture), "-features", str(features)]
    out = subprocess.run(args + PROMPTS + ([PICTURE] if picture else []), check=True, capture_output=True).stdout
    return json.loads(out)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model", type=pathlib.Path)
    ap.add_argument("--projector", type=pathlib.Path)
    ap.add_argument("--ours", default="build/llamacpp", help="the program of tools/llamacpp")
    ap.add_argument("--min", type=float, default=0.999, help="the lowest cosine of a state that is accepted")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--text", action="store_true", help="leave the projector and pictures out")
    ap.add_argument("--verbose", action="store_true", help="show llama.cpp's own messages")
    a = ap.parse_args()
    projector = None if a.text else Projector(a.projector or a.model.with_name("mmproj-" + a.model.name))
    if not a.verbose:
        keep = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(keep, None)
        mtmd_cpp.mtmd_log_set(keep, None)

    low = []

    def report(name, value):
        print(f"{name}: cosine {value:.7f}")
        if not value >= a.min:
            low.append(name)

    with tempfile.TemporaryDirectory() as d:
        picture, features, pixels, rows = None, pathlib.Path(d) / "features.f32", None, None
        if projector:
            picture, pixels = pathlib.Path(d) / "picture.png", draw(projector.side)
            picture.write_bytes(png(pixels))
        got = ours(a.ours, a.model, picture, features)
        if projector:
            rows = np.fromfile(features, dtype=np.float32).reshape(-1, got["width"])
    model = LlamaCpp(a.model, 2048, a.threads)
    print(f"{a.model}: llama.cpp loads it")
    for text, p in zip(PROMPTS, got["prompts"]):
        theirs = model.tokenize(text)
        print(f"{len(p['tokens'])} tokens, {'the same' if theirs == p['tokens'] else 'llama.cpp has ' + str(len(theirs))}: {text!r}")
        report("  state", cosine(model.state(p["tokens"]), np.array(p["state"])))
    if projector:
        overview = mtmd_features(model, projector.path, pixels, a.threads)
        with tempfile.TemporaryDirectory() as d:
            again = mtmd_features(model, projector.turned(pathlib.Path(d) / "mmproj.gguf"), pixels, a.threads)
        print(f"{projector.path}: llama.cpp loads it; {len(overview)} vectors of a picture, ours {len(rows)} with its tiles")
        n = len(overview)
        whole = compare_rows("overview", overview, rows[:n])
        part = compare_rows("overview, positions turned, all but the first patch", again[:n - 1], rows[1:n])
        if max(whole, part) < a.min:
            low.append("overview")
        p = got["prompts"][-1]
        report("  state of a prompt with the picture", cosine(model.state(p["tokens"], rows, got["image_token"]),
                                                              np.array(p["state"])))
    if low:
        sys.exit(f"below {a.min}: " + ", ".join(low))


if __name__ == "__main__":
    main()
