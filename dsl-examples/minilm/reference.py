#!/usr/bin/env python3
"""Makes reference.safetensors: `python3 reference.py MODEL` with the directory of the model's files.

Holds, for each line of sentences.txt, its token ids (all one after another in `ids`, `starts` says where each begins) and its embedding as onnxruntime computes
it (`embeddings`, f32). A second computation of the same in numpy, one sentence at a time in f64 with no masks, has to agree. See graph.py for the packages.
"""
import math
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

import graph

erf = np.vectorize(math.erf)


def encode(w, ids):
    """The embedding of one sentence in f64, from the papers (Vaswani et al., 2017; Devlin et al., 2019)."""
    f = lambda name: w[name].astype(np.float64)
    linear = lambda x, at: x @ f(f"{at}.weight").T + f(f"{at}.bias")

    def norm(x, at):
        d = x - x.mean(1, keepdims=True)
        return d / np.sqrt((d * d).mean(1, keepdims=True) + graph.EPS) * f(f"{at}.LayerNorm.weight") + f(f"{at}.LayerNorm.bias")

    e = "embeddings"
    h = f(f"{e}.word_embeddings.weight")[ids] + f(f"{e}.position_embeddings.weight")[: len(ids)] + f(f"{e}.token_type_embeddings.weight")[0]
    h = norm(h, e)
    for layer in range(graph.LAYERS):
        p = f"encoder.layer.{layer}"
        heads = lambda x: x.reshape(len(ids), graph.HEADS, -1).transpose(1, 0, 2)
        q, k, v = (heads(linear(h, f"{p}.attention.self.{part}")) for part in ("query", "key", "value"))
        s = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2])
        s = np.exp(s - s.max(2, keepdims=True))
        o = (s / s.sum(2, keepdims=True)) @ v
        o = o.transpose(1, 0, 2).reshape(len(ids), -1)
        h = norm(h + linear(o, f"{p}.attention.output.dense"), f"{p}.attention.output")
        o = linear(h, f"{p}.intermediate.dense")
        o = linear(0.5 * o * (1 + erf(o / math.sqrt(2))), f"{p}.output.dense")
        h = norm(h + o, f"{p}.output")
    mean = h.mean(0)
    return mean / np.linalg.norm(mean)


def main():
    model = pathlib.Path(sys.argv[1])
    w, tokenizer = graph.weights(model), graph.tokenizer(model)
    tokens = [t.ids for t in tokenizer.encode_batch(graph.sentences())]
    y = graph.session(w, 2)(*graph.padded(tokens))
    exact = np.stack([encode(w, np.array(ids)) for ids in tokens])
    difference = np.abs(y - exact).max()
    assert difference < 1e-5, difference
    print(f"{len(tokens)} sentences of {min(map(len, tokens))} to {max(map(len, tokens))} tokens; onnxruntime differs from f64 by at most {difference:.1e}")
    arrays = {
        "embeddings": y.astype(np.float32),
        "ids": np.concatenate([np.array(ids, np.int64) for ids in tokens]).astype(np.uint32),
        "starts": np.cumsum([0] + [len(ids) for ids in tokens]).astype(np.uint32),
    }
    save_file(arrays, pathlib.Path(__file__).parent / "reference.safetensors", {"made_by": graph.versions()})


if __name__ == "__main__":
    main()
