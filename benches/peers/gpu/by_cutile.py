"""cuTile's side. Importing it fails where cuda-tile is not installed."""

import os
import sys

import cuda.tile as ct
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import cutile_kernels  # noqa: E402


def ceiling(a, b):
    return -(-a // b)


def matmul(a, b, out_type):
    (m, _), n = a.shape, b.shape[1]
    c = torch.empty((m, n), device="cuda", dtype=out_type)
    bm, bn, bk = (128, 256, 64) if m >= 1024 and n >= 1024 else (128, 128, 64)
    stream = torch.cuda.current_stream()
    grid = (ceiling(m, bm), ceiling(n, bn), 1)
    return lambda: ct.launch(stream, grid, cutile_kernels.matmul, (a, b, c, bm, bn, bk)), lambda: c


def attention(t, scale, causal):
    q = t["q"]
    b, h, length, d = q.shape
    o = torch.empty_like(q)
    stream = torch.cuda.current_stream()
    grid = (ceiling(length, 128), h, b)
    arguments = (q, t["k"], t["v"], o, scale, length, d, int(causal), 128, 128)
    return lambda: ct.launch(stream, grid, cutile_kernels.attention, arguments), lambda: o
