"""A peer on CLIP: clip.py PEER TOWER CHECKPOINT CACHE THREADS PROBES

PEER is torch, torch-bf16, torch-compile, ort, ort-int8, ov, ov-bf16 or ov-int8; TOWER is image or text. CHECKPOINT is a folder
of the hub's layout. What is exported and quantised once lies in CACHE. Images are pixels in memory, texts are 16 tokens.
PROBES is a file of inputs of which this peer says the embeddings of the first 8; the others are there to calibrate with.
The cases are named by their batch: 1 and 8.
"""
import os
import pathlib
import sys
import warnings

import subject

warnings.filterwarnings("ignore")
import numpy as np  # noqa: E402

BATCHES, TOKENS, OPSET, PROBES = (1, 8), 16, 17, 8
peer, tower, checkpoint, cache, threads, probe_file = sys.argv[1:5] + [int(sys.argv[5])] + sys.argv[6:]
cache = pathlib.Path(cache)
random = np.random.default_rng(1)


def config():
    import json
    return json.loads((pathlib.Path(checkpoint) / "config.json").read_text())


def inputs(n):
    c = config()
    if tower == "image":
        side = c["vision_config"]["image_size"]
        return random.standard_normal((n, 3, side, side), dtype=np.float32)
    t = c["text_config"]
    ids = random.integers(100, t["bos_token_id"], (n, TOKENS))
    ids[:, 0], ids[:, -1] = t["bos_token_id"], t["eos_token_id"]
    return ids


def probes():
    if tower == "text":
        return np.fromfile(probe_file, dtype="<i4").astype(np.int64).reshape(-1, TOKENS)
    side = config()["vision_config"]["image_size"]
    return np.fromfile(probe_file, dtype="<f4").reshape(-1, 3, side, side)


def features(dtype=None, attention="sdpa"):
    """The tower as a module that returns what the embedding is made of."""
    import torch
    from transformers import CLIPModel
    torch.set_num_threads(threads)
    model = CLIPModel.from_pretrained(checkpoint, torch_dtype=dtype or torch.float32, attn_implementation=attention).eval()

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = model.vision_model if tower == "image" else model.text_model
            self.projection = model.visual_projection if tower == "image" else model.text_projection

        def forward(self, x):
            return self.projection(self.tower(x)[1])

    return Tower().eval()


def onnx_file():
    path = cache / f"{tower}.onnx"
    if not path.exists():
        part = f"{path}.{os.getpid()}.part"  # peers that start at the same time export it twice rather than one half
        import torch
        with torch.inference_mode(False), torch.no_grad():
            torch.onnx.export(features(attention="eager"), (torch.from_numpy(inputs(2)),), part,
                              input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
                              opset_version=OPSET, dynamo=False)
        os.replace(part, path)
    return path


def torch_peer():
    import torch
    module = features(torch.float32 if peer == "torch" else torch.bfloat16)
    if peer == "torch-compile":
        module = torch.compile(module)
    cases = {}
    for n in BATCHES:
        x = torch.from_numpy(inputs(n))
        x = x if tower == "text" or peer == "torch" else x.to(torch.bfloat16)

        def call(x=x):
            with torch.inference_mode():
                module(x)
        cases[str(n)] = (n, call)

    def probe():
        x = torch.from_numpy(probes()[:PROBES])
        with torch.inference_mode():
            return module(x if tower == "text" or peer == "torch" else x.to(torch.bfloat16)).float().numpy()
    subject.serve("torch " + torch.__version__, cases, probe)


def ort_peer():
    import onnxruntime as ort
    path = onnx_file()
    if peer == "ort-int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantised = cache / f"{tower}.int8.onnx"
        if not quantised.exists():
            quantize_dynamic(path, str(quantised) + ".part", weight_type=QuantType.QInt8,
                             op_types_to_quantize=["MatMul", "Gemm"])
            os.replace(str(quantised) + ".part", quantised)
        path = quantised
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    cases = {}
    for n in BATCHES:
        x = {"x": inputs(n)}
        cases[str(n)] = (n, lambda x=x: session.run(None, x))
    subject.serve("onnxruntime " + ort.__version__, cases, lambda: session.run(None, {"x": probes()[:PROBES]})[0])


def ov_peer():
    import openvino as ov
    core = ov.Core()
    path = onnx_file()
    if peer == "ov-int8":
        quantised = cache / f"{tower}.calibrated.xml"
        if not quantised.exists():
            import nncf
            calibration = probes()[PROBES:]
            data = nncf.Dataset([x[None] for x in calibration])
            model = nncf.quantize(core.read_model(path), data, model_type=nncf.ModelType.TRANSFORMER,
                                  subset_size=len(calibration))
            ov.save_model(model, cache / f"{tower}.part.xml", compress_to_fp16=False)
            os.replace(cache / f"{tower}.part.bin", cache / f"{tower}.calibrated.bin")
            os.replace(cache / f"{tower}.part.xml", quantised)
        path = quantised
    cases = {}
    for n in BATCHES:
        model, x = core.read_model(path), inputs(n)
        model.reshape(list(x.shape))
        request = core.compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": "bf16" if peer == "ov-bf16" else "f32", "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY"}).create_infer_request()
        cases[str(n)] = (n, lambda request=request, x=x: request.infer({0: x}))
    # The last request is of as many inputs as there are probes.
    subject.serve("openvino " + ov.__version__.split("-")[0], cases, lambda: request.infer({0: probes()[:PROBES]})[0])


def main():
    cache.mkdir(parents=True, exist_ok=True)
    {"torch": torch_peer, "ort": ort_peer, "ov": ov_peer}[peer.split("-")[0]]()


subject.run(main)
