"""A peer on the prefill of a decoder of Mistral 7B's width: decoder.py PEER LAYERS TOKENS CACHE THREADS

PEER is torch, torch-bf16, ov, ov-bf16, ov-int8 or ov-int4 (weights of 8 and 4 bits, in groups of 128). Weights are random and
the input is embeddings. What is converted once lies in CACHE. The one case is called prefill; an item is a token.
"""
import os
import pathlib
import sys
import warnings

import subject

warnings.filterwarnings("ignore")

GROUP = 128
peer, layers, tokens, cache, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4]), int(sys.argv[5])


def decoder():
    import torch
    from transformers import MistralConfig, MistralModel
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    return MistralModel(MistralConfig(
        vocab_size=1000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=layers, num_attention_heads=32,
        num_key_value_heads=8, rope_theta=1e6, sliding_window=None, attn_implementation="sdpa")).eval()


def embeddings(n):
    import torch
    return torch.randn(1, n, 4096) * 0.5


def torch_peer():
    import torch
    dtype = torch.float32 if peer == "torch" else torch.bfloat16
    model = decoder().to(dtype)
    x = embeddings(tokens).to(dtype)

    def call(x=x):
        with torch.inference_mode():
            model(inputs_embeds=x, use_cache=False)
    subject.serve("torch " + torch.__version__, {"prefill": (tokens, call, lambda: call(x[:, :64]))})


def converted(kind):
    """The path of the decoder as OpenVINO has it, its weights as they are or compressed."""
    path = cache / f"decoder-{layers}x{tokens}-{kind}.xml"
    if path.exists():
        return path
    import openvino as ov
    part = cache / f"part-{kind}.xml"
    if kind == "f32":
        import torch
        model = decoder()

        class Last(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, e):
                return self.model(inputs_embeds=e, use_cache=False).last_hidden_state[:, -1]

        with torch.inference_mode():
            made = ov.convert_model(Last(), example_input=embeddings(tokens), input=[(1, tokens, 4096)])
    else:
        import nncf
        made = ov.Core().read_model(converted("f32"))
        if kind == "int8":
            made = nncf.compress_weights(made, mode=nncf.CompressWeightsMode.INT8_SYM)
        else:
            made = nncf.compress_weights(made, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=GROUP)
    ov.save_model(made, part, compress_to_fp16=False)
    os.replace(part.with_suffix(".bin"), path.with_suffix(".bin"))
    os.replace(part, path)
    return path


def ov_peer():
    import numpy as np
    import openvino as ov
    kind = peer.removeprefix("ov-") if "int" in peer else "f32"
    model = ov.Core().read_model(converted(kind))
    bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    request = ov.Core().compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": "f32" if peer == "ov" or not bf16 else "bf16", "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY", "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if "int" in peer else 0}
    ).create_infer_request()
    x = (np.random.default_rng(1).standard_normal((1, tokens, 4096)) * 0.5).astype(np.float32)
    subject.serve("openvino " + ov.__version__.split("-")[0], {"prefill": (tokens, lambda: request.infer({0: x}))})


def main():
    cache.mkdir(parents=True, exist_ok=True)
    (torch_peer if peer.startswith("torch") else ov_peer)()


subject.run(main)
