"""cuTile's side. Its tile shapes are tuned, as the others' are. Importing it fails where cuda-tile is not installed."""

import os
import sys

import cuda.tile as ct

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import cutile_kernels  # noqa: E402

# Rows, columns and depth of a tile; and queries and keys of one.
PRODUCTS = [(128, 128, 64), (128, 256, 64), (256, 128, 64), (64, 128, 64), (64, 64, 128), (16, 128, 128)]
ATTENTION = [(128, 128), (128, 64), (64, 64)]


def ceiling(a, b):
    return -(-a // b)


def launches_of_matmul(a, b, c):
    """Grid, kernel and arguments of c = a @ b for each tile shape, for whatever has shapes. Tiles much taller than the result are left out."""
    m, n = c.shape
    fitting = [(bm, bn, bk) for bm, bn, bk in PRODUCTS if bm == 16 or bm < 2 * m]
    return [((ceiling(m, bm), ceiling(n, bn), 1), cutile_kernels.matmul, (a, b, c, bm, bn, bk)) for bm, bn, bk in fitting]


def launches_of_attention(q, k, v, o, scale, causal):
    """Grid, kernel and arguments of o = softmax(q trans(k) * scale) v for each tile shape."""
    b, h, length, d = q.shape
    return [((ceiling(length, bm), h, b), cutile_kernels.attention, (q, k, v, o, scale, length, d, int(causal), bm, bn)) for bm, bn in ATTENTION]


def fastest(launches, out):
    """How to run the fastest of some launches on the current stream, and how to get what it gives."""
    import torch

    import clock

    stream = torch.cuda.current_stream()
    ways = [lambda one=one: ct.launch(stream, *one) for one in launches]
    return min(ways, key=lambda run: clock.median(clock.event_times(run, 0.05))), lambda: out


def matmul(a, b, out_type):
    import torch

    c = torch.empty((a.shape[0], b.shape[1]), device="cuda", dtype=out_type)
    return fastest(launches_of_matmul(a, b, c), c)


def attention(t, scale, causal):
    import torch

    o = torch.empty_like(t["q"])
    return fastest(launches_of_attention(t["q"], t["k"], t["v"], o, scale, causal), o)
