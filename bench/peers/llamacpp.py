"""llama.cpp by llama-cpp-python on the prefill of a decoder: llamacpp.py MODEL.gguf TOKENS THREADS

The file is this project's own. Tokens are any of the vocabulary; the state of the last is asked for. The one case is called
prefill; an item is a token.
"""
import ctypes
import sys

import subject

import numpy as np
import llama_cpp as ll

path, tokens, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
SILENT = ll.llama_log_callback(lambda level, text, data: None)


def main():
    ll.llama_log_set(SILENT, ctypes.c_void_p(0))
    ll.llama_backend_init()
    params = ll.llama_model_default_params()
    params.n_gpu_layers = 0
    model = ll.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise RuntimeError(f"llama.cpp does not load {path}")
    params = ll.llama_context_default_params()
    params.n_ctx, params.n_batch = (tokens + 255) // 256 * 256, tokens
    params.n_threads = params.n_threads_batch = threads
    params.embeddings, params.pooling_type = True, ll.LLAMA_POOLING_TYPE_LAST
    context = ll.llama_init_from_model(model, params)
    if not context:
        raise RuntimeError("llama.cpp makes no context")
    vocabulary = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(model))
    ids = np.random.default_rng(1).integers(3, vocabulary, tokens)

    def prefill(n=tokens):
        ll.llama_memory_clear(ll.llama_get_memory(context), True)
        batch = ll.llama_batch_init(n, 0, 1)
        batch.n_tokens = n
        for i in range(n):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = int(ids[i]), i, 1, 0
            batch.logits[i] = 1
        failed = ll.llama_decode(context, batch)
        ll.llama_batch_free(batch)
        if failed:
            raise RuntimeError(f"llama_decode returned {failed}")

    subject.serve("llama-cpp-python " + ll.__version__, {"prefill": (tokens, prefill, lambda: prefill(64))})


subject.run(main)
