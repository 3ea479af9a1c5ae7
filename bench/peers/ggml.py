"""ggml's matrix products alone, as llama.cpp ships them: ggml.py TYPE THREADS PRODUCTS

PRODUCTS is JSON: {case: [items, [[n_in, n_out, rows, how often], ...]]}; one call computes each product that often. What a
network does between its products costs nothing here, so that this is a bound for whatever is built on ggml.
"""
import ctypes
import json
import pathlib
import sys

import subject

import llama_cpp

TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "q4_k": 12, "q5_k": 13, "q6_k": 14, "bf16": 30}
kind, threads, wanted = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])


class InitParams(ctypes.Structure):
    """struct ggml_init_params of ggml.h."""

    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def library():
    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    base = ctypes.CDLL(str(folder / "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
    cpu = ctypes.CDLL(str(folder / "libggml-cpu.so"), mode=ctypes.RTLD_GLOBAL)
    for f in (base.ggml_init, base.ggml_new_tensor_2d, base.ggml_mul_mat, base.ggml_new_graph, base.ggml_get_data):
        f.restype = ctypes.c_void_p
    base.ggml_nbytes.restype = ctypes.c_size_t
    cpu.ggml_backend_cpu_init.restype = ctypes.c_void_p
    cpu.ggml_cpu_init()
    # A backend keeps the memory that it works in, where a graph computed with a context takes more of it at every call.
    backend = ctypes.c_void_p(cpu.ggml_backend_cpu_init())
    cpu.ggml_backend_cpu_set_n_threads(backend, threads)
    return base, backend


def main():
    base, backend = library()
    cases = {}
    for name, (items, products) in wanted.items():
        runs = []
        for n_in, n_out, rows, times in products:
            # Room for a weight of 4 bytes, both activations, and the graph.
            size = 4 * (n_in * n_out + rows * n_in + rows * n_out) + (1 << 20)
            ctx = ctypes.c_void_p(base.ggml_init(InitParams(size, None, False)))
            if not ctx:
                raise MemoryError(f"ggml has no {size} bytes")
            tensors = []
            for tensor_type, ne0, ne1, fill in ((TYPES[kind], n_in, n_out, 0x11), (TYPES["f32"], n_in, rows, 0x3d)):
                t = ctypes.c_void_p(base.ggml_new_tensor_2d(ctx, tensor_type, ctypes.c_int64(ne0), ctypes.c_int64(ne1)))
                # Any numbers that are not denormal do, since products take no longer for one than for another.
                ctypes.memset(ctypes.c_void_p(base.ggml_get_data(t)), fill, base.ggml_nbytes(t))
                tensors.append(t)
            graph = ctypes.c_void_p(base.ggml_new_graph(ctx))
            base.ggml_build_forward_expand(graph, ctypes.c_void_p(base.ggml_mul_mat(ctx, *tensors)))
            runs.append((graph, times))

        def call(runs=runs):
            for graph, times in runs:
                for _ in range(times):
                    if base.ggml_backend_graph_compute(backend, graph):
                        raise RuntimeError("ggml does not compute the product")
        cases[name] = (items, call)
    subject.serve("ggml of llama-cpp-python " + llama_cpp.__version__, cases)


subject.run(main)
