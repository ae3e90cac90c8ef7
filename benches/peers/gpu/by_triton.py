"""Triton's side, written as its tutorials advise. Importing it fails where Triton or torch is not installed."""

import torch
import triton
import triton.language as tl


@triton.jit
def softmax_kernel(x, y, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    v = tl.load(x + row * n + at, mask=at < n, other=-float("inf")).to(tl.float32)
    e = tl.exp(v - tl.max(v, 0))
    tl.store(y + row * n + at, (e / tl.sum(e, 0)).to(y.dtype.element_ty), mask=at < n)


@triton.jit
def rms_norm_kernel(x, w, y, n, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    v = tl.load(x + row * n + at, mask=at < n, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(v * v, 0) / n + eps)
    weight = tl.load(w + at, mask=at < n, other=0.0).to(tl.float32)
    tl.store(y + row * n + at, (v * scale * weight).to(y.dtype.element_ty), mask=at < n)


@triton.jit
def layer_norm_kernel(x, w, b, y, n, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < n
    v = tl.load(x + row * n + at, mask=inside, other=0.0).to(tl.float32)
    d = tl.where(inside, v - tl.sum(v, 0) / n, 0.0)
    scale = tl.rsqrt(tl.sum(d * d, 0) / n + eps)
    weight = tl.load(w + at, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(b + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * n + at, (d * scale * weight + bias).to(y.dtype.element_ty), mask=inside)


TILES = [(128, 128, 4, 4), (128, 128, 8, 3), (128, 256, 8, 3), (128, 256, 8, 4), (64, 128, 4, 4), (64, 256, 4, 4), (16, 64, 4, 5), (16, 128, 4, 5)]


@triton.autotune(
    configs=[triton.Config({"BM": bm, "BN": bn, "BK": 64, "GROUP": 8}, num_warps=w, num_stages=s) for bm, bn, w, s in TILES],
    key=["m", "n", "k"],
)
@triton.jit
def matmul_kernel(a, b, c, m, n, k, bk, bn, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    pid = tl.program_id(0)
    rows, cols = tl.cdiv(m, BM), tl.cdiv(n, BN)
    group = pid // (GROUP * cols)
    size = min(rows - group * GROUP, GROUP)
    pm = group * GROUP + (pid % (GROUP * cols)) % size
    pn = (pid % (GROUP * cols)) // size
    om = (pm * BM + tl.arange(0, BM)) % m
    on = (pn * BN + tl.arange(0, BN)) % n
    ok = tl.arange(0, BK)
    pa = a + om[:, None].to(tl.int64) * k + ok[None, :]
    pb = b + ok[:, None].to(tl.int64) * bk + on[None, :].to(tl.int64) * bn
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for at in range(0, tl.cdiv(k, BK)):
        left = tl.load(pa, mask=ok[None, :] < k - at * BK, other=0.0)
        right = tl.load(pb, mask=ok[:, None] < k - at * BK, other=0.0)
        acc = tl.dot(left, right, acc)
        pa += BK
        pb += BK * bk
    rm = pm * BM + tl.arange(0, BM)
    rn = pn * BN + tl.arange(0, BN)
    tl.store(c + rm[:, None].to(tl.int64) * n + rn[None, :], acc.to(c.dtype.element_ty), mask=(rm[:, None] < m) & (rn[None, :] < n))


def matmul(a, b, out_type):
    """a @ b, b with any strides."""
    (m, k), n = a.shape, b.shape[1]
    c = torch.empty((m, n), device="cuda", dtype=out_type)
    grid = lambda meta: (triton.cdiv(m, meta["BM"]) * triton.cdiv(n, meta["BN"]),)
    return lambda: matmul_kernel[grid](a, b, c, m, n, k, b.stride(0), b.stride(1)), lambda: c


def rows(name, t):
    x = t["x"]
    y, n = torch.empty_like(x), x.shape[1]
    block, warps = triton.next_power_of_2(n), 4 if n <= 2048 else 8 if n <= 8192 else 16
    grid = (x.shape[0],)
    if name == "softmax":
        run = lambda: softmax_kernel[grid](x, y, n, BLOCK=block, num_warps=warps)
    elif name == "layer_norm":
        run = lambda: layer_norm_kernel[grid](x, t["w"], t["b"], y, n, 1e-5, BLOCK=block, num_warps=warps)
    else:
        run = lambda: rms_norm_kernel[grid](x, t["w"], y, n, 1e-6, BLOCK=block, num_warps=warps)
    return run, lambda: y


FORWARD = [(128, 64, 4, 3), (128, 128, 8, 2), (64, 64, 4, 3), (128, 64, 8, 3)]


@triton.autotune(configs=[triton.Config({"BM": bm, "BN": bn}, num_warps=w, num_stages=s) for bm, bn, w, s in FORWARD], key=["length", "D", "CAUSAL"])
@triton.jit
def attention_kernel(q, k, v, o, scale, length, D: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    m, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    base = head * length * D
    rows = m * BM + tl.arange(0, BM)
    cols = tl.arange(0, BN)
    d = tl.arange(0, D)
    tq = tl.load(q + base + rows[:, None] * D + d[None, :], mask=rows[:, None] < length, other=0.0)
    acc = tl.zeros((BM, D), dtype=tl.float32)
    top = tl.full((BM,), -float("inf"), dtype=tl.float32)
    den = tl.zeros((BM,), dtype=tl.float32)
    to_log2 = scale * 1.4426950408889634
    end = tl.minimum(length, (m + 1) * BM) if CAUSAL else length
    for n in range(0, end, BN):
        at = n + cols
        tk = tl.load(k + base + at[None, :] * D + d[:, None], mask=at[None, :] < length, other=0.0)
        s = tl.dot(tq, tk) * to_log2
        live = at[None, :] < length
        if CAUSAL:
            live = live & (at[None, :] <= rows[:, None])
        s = tl.where(live, s, -float("inf"))
        following = tl.maximum(top, tl.max(s, 1))
        p = tl.exp2(s - following[:, None])
        keep = tl.exp2(top - following)
        den = den * keep + tl.sum(p, 1)
        tv = tl.load(v + base + at[:, None] * D + d[None, :], mask=at[:, None] < length, other=0.0)
        acc = tl.dot(p.to(tv.dtype), tv, acc * keep[:, None])
        top = following
    tl.store(o + base + rows[:, None] * D + d[None, :], (acc / den[:, None]).to(o.dtype.element_ty), mask=rows[:, None] < length)


def attention(t, scale, causal):
    q = t["q"]
    b, h, length, d = q.shape
    o = torch.empty_like(q)
    grid = lambda meta: (triton.cdiv(length, meta["BM"]), b * h)
    return lambda: attention_kernel[grid](q, t["k"], t["v"], o, scale, length, D=d, CAUSAL=causal), lambda: o
