"""Compiles Triton kernels to PTX with no GPU: `make_triton.py OUT ARCH` writes NAME.ptx and NAME.meta for each.

A .meta line is `kernel shared_bytes num_warps`. Kernels were written for the emulator's tests.
"""

import sys

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def vadd(x, y, o, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    m = i < n
    tl.store(o + i, tl.load(x + i, mask=m) + tl.load(y + i, mask=m), mask=m)


@triton.jit
def softmax(x, o, n, B: tl.constexpr):
    r = tl.program_id(0)
    i = tl.arange(0, B)
    v = tl.load(x + r * n + i, mask=i < n, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(o + r * n + i, e / tl.sum(e, 0), mask=i < n)


@triton.jit
def layernorm(x, w, b, o, n, B: tl.constexpr):
    r = tl.program_id(0)
    i = tl.arange(0, B)
    m = i < n
    v = tl.load(x + r * n + i, mask=m, other=0.0)
    mean = tl.sum(v, 0) / n
    d = tl.where(m, v - mean, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(d * d, 0) / n + 1e-5)
    tl.store(o + r * n + i, d * rstd * tl.load(w + i, mask=m) + tl.load(b + i, mask=m), mask=m)


@triton.jit
def matmul(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    pa = a + m[:, None] * K + k[None, :]
    pb = b + k[:, None] * N + n[None, :]
    acc = tl.zeros((BM, BN), tl.float32)
    for _ in range(0, K, BK):
        acc = tl.dot(tl.load(pa), tl.load(pb), acc)
        pa += BK
        pb += BK * N
    tl.store(c + m[:, None] * N + n[None, :], acc)


@triton.jit
def attention(q, k, v, o, n, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    d = tl.arange(0, D)
    j = tl.arange(0, BN)
    tq = tl.load(q + i[:, None] * D + d[None, :])
    top = tl.full((BM,), -float("inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    for s in range(0, n, BN):
        tk = tl.load(k + (s + j)[None, :] * D + d[:, None])
        p = tl.dot(tq, tk) * scale
        new = tl.maximum(top, tl.max(p, 1))
        p = tl.exp(p - new[:, None])
        old = tl.exp(top - new)
        total = total * old + tl.sum(p, 1)
        tv = tl.load(v + (s + j)[:, None] * D + d[None, :])
        acc = tl.dot(p.to(tl.float16), tv, acc * old[:, None])
        top = new
    tl.store(o + i[:, None] * D + d[None, :], acc / total[:, None])


F, H, I = "*fp32", "*fp16", "i32"
KERNELS = [
    (vadd, {"x": F, "y": F, "o": F, "n": I}, {"B": 256}, 4, 1),
    (softmax, {"x": F, "o": F, "n": I}, {"B": 1024}, 4, 1),
    (layernorm, {"x": F, "w": F, "b": F, "o": F, "n": I}, {"B": 1024}, 4, 1),
    (matmul, {"a": H, "b": H, "c": F, "M": I, "N": I, "K": I}, {"BM": 64, "BN": 64, "BK": 32}, 4, 3),
    (attention, {"q": H, "k": H, "v": H, "o": F, "n": I, "scale": "fp32"}, {"BM": 64, "BN": 32, "D": 64}, 4, 2),
]

out, arch = sys.argv[1], int(sys.argv[2])
for fn, types, constants, warps, stages in KERNELS:
    signature = {**types, **{name: "constexpr" for name in constants}}
    names = list(fn.arg_names)
    attrs = {(names.index(p),): [["tt.divisibility", 16]] for p, t in types.items() if t != "fp32" and p not in ("n",) or t == I and p in ("M", "N", "K")}
    source = ASTSource(fn=fn, signature=signature, constexprs=constants, attrs=attrs)
    done = triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, "num_stages": stages})
    with open(f"{out}/{fn.__name__}.ptx", "w") as f:
        f.write(done.asm["ptx"])
    with open(f"{out}/{fn.__name__}.meta", "w") as f:
        f.write(f"{done.metadata.name} {done.metadata.shared} {done.metadata.num_warps}\n")
