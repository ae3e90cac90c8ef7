"""Triton as the peer of Kiln's bench of compile times. Compiles with no GPU: the target is named, the source is a function with a signature.

usage: triton_compile.py serve           answers requests on standard input
       triton_compile.py once REQUEST    answers one and ends: what a new process takes

A request is `KERNEL ARCH WARPS STAGES TYPE NAME=VALUE,..` (constants; `-` for none). The answer has pairs `STAGE SECONDS`: ast, ttir, ttgir, llir, ptx, cubin; with `once`
before them also import (of Triton), key (the hash of the installation that its cache needs) and compile (all of `triton.compile`). Or it is `error TEXT`.
`serve` compiles anew each time; `once` uses the cache that TRITON_CACHE_DIR names.

The kernels do what Kiln's examples do: the same tiles, masks at every edge, programs in groups of 8 rows. Those called `_tma` read through tensor
descriptors, which compute capability 9.0 copies with its tensor memory accelerator; the others read through pointers.
"""

import sys
import time

BEGIN = time.perf_counter()

import triton  # noqa: E402
import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

IMPORTED = time.perf_counter()


@triton.jit
def vector_add(x, y, z, N, BLOCK: tl.constexpr):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < N
    tl.store(z + n, tl.load(x + n, mask=inside) + tl.load(y + n, mask=inside), mask=inside)


@triton.jit
def softmax(x, y, N, stride, BLOCK: tl.constexpr):
    m = tl.program_id(0)
    n = tl.arange(0, BLOCK)
    row = tl.load(x + m * stride + n, mask=n < N, other=-float("inf")).to(tl.float32)
    e = tl.exp(row - tl.max(row, 0))
    tl.store(y + m * stride + n, (e / tl.sum(e, 0)).to(y.dtype.element_ty), mask=n < N)


@triton.jit
def layer_norm(x, w, b, y, stride, eps, N: tl.constexpr):
    m = tl.program_id(0)
    n = tl.arange(0, N)
    row = tl.load(x + m * stride + n).to(tl.float32)
    d = row - tl.sum(row, 0) / N
    out = d * tl.rsqrt(tl.sum(d * d, 0) / N + eps)
    out = out * tl.load(w + n).to(tl.float32) + tl.load(b + n).to(tl.float32)
    tl.store(y + m * stride + n, out.to(y.dtype.element_ty))


@triton.jit
def place(M, N, BM: tl.constexpr, BN: tl.constexpr):
    """This program's first row and column: groups of 8 rows of programs, column by column."""
    rows, columns = tl.cdiv(M, BM), tl.cdiv(N, BN)
    program = tl.program_id(0)
    group = program // (8 * columns)
    height = tl.minimum(rows - group * 8, 8)
    within = program % (8 * columns)
    return (group * 8 + within % height) * BM, (within // height) * BN


@triton.jit
def matmul(a, b, c, M, N, K, sa, sb, sc, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m0, n0 = place(M, N, BM, BN)
    m = m0 + tl.arange(0, BM)
    n = n0 + tl.arange(0, BN)
    k = tl.arange(0, BK)
    pa = a + m[:, None] * sa + k[None, :]
    pb = b + k[:, None] * sb + n[None, :]
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        ta = tl.load(pa, mask=(m[:, None] < M) & (start + k[None, :] < K), other=0.0)
        tb = tl.load(pb, mask=(start + k[:, None] < K) & (n[None, :] < N), other=0.0)
        acc = tl.dot(ta, tb, acc)
        pa += BK
        pb += BK * sb
    tl.store(c + m[:, None] * sc + n[None, :], acc.to(c.dtype.element_ty), mask=(m[:, None] < M) & (n[None, :] < N))


@triton.jit
def matmul_tma(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m, n = place(M, N, BM, BN)
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(a.load([m, k]), b.load([k, n]), acc)
    c.store([m, n], acc.to(c.dtype))


@triton.jit
def blend(s, live, top, den, acc, scale):
    """One step of the running softmax: the new maximum, sum, scaled accumulator, and the probabilities."""
    s = tl.where(live, s * (scale * 1.4426950408889634), -float("inf"))
    following = tl.maximum(top, tl.max(s, 1))
    base = tl.where(following == -float("inf"), 0.0, following)
    p = tl.exp2(s - base[:, None])
    keep = tl.exp2(top - base)
    return following, den * keep + tl.sum(p, 1), acc * keep[:, None], p


@triton.jit
def attention(q, k, v, o, B, H, HK, L, S, scale, D: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    h, b = tl.program_id(1), tl.program_id(2)
    hk = h // (H // HK)
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    d = tl.arange(0, D)
    n = tl.arange(0, BN)
    head = (b * HK + hk).to(tl.int64) * S * D
    mine = (b * H + h).to(tl.int64) * L * D + m[:, None] * D + d[None, :]
    tq = tl.load(q + mine, mask=m[:, None] < L, other=0.0)
    acc = tl.zeros((BM, D), tl.float32)
    top = tl.full((BM,), -float("inf"), tl.float32)
    den = tl.zeros((BM,), tl.float32)
    end = tl.minimum(S, (tl.program_id(0) + 1) * BM + (S - L)) if CAUSAL else S
    for start in range(0, end, BN):
        cols = start + n
        at = head + cols[:, None] * D + d[None, :]
        tk = tl.load(k + at, mask=cols[:, None] < S, other=0.0)
        live = cols[None, :] < S
        if CAUSAL:
            live = live & (cols[None, :] <= m[:, None] + (S - L))
        top, den, acc, p = blend(tl.dot(tq, tl.trans(tk)), live, top, den, acc, scale)
        tv = tl.load(v + at, mask=cols[:, None] < S, other=0.0)
        acc = tl.dot(p.to(tv.dtype), tv, acc)
    out = tl.where((den > 0.0)[:, None], acc / den[:, None], 0.0)
    tl.store(o + mine, out.to(o.dtype.element_ty), mask=m[:, None] < L)


@triton.jit
def attention_tma(q, k, v, o, B, H, HK, L, S, scale, D: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    h, b = tl.program_id(1), tl.program_id(2)
    hk = h // (H // HK)
    m0 = tl.program_id(0) * BM
    m = m0 + tl.arange(0, BM)
    n = tl.arange(0, BN)
    tq = q.load([b, h, m0, 0]).reshape(BM, D)
    acc = tl.zeros((BM, D), tl.float32)
    top = tl.full((BM,), -float("inf"), tl.float32)
    den = tl.zeros((BM,), tl.float32)
    end = tl.minimum(S, m0 + BM + (S - L)) if CAUSAL else S
    for start in range(0, end, BN):
        cols = start + n
        tk = k.load([b, hk, start, 0]).reshape(BN, D)
        live = cols[None, :] < S
        if CAUSAL:
            live = live & (cols[None, :] <= m[:, None] + (S - L))
        top, den, acc, p = blend(tl.dot(tq, tl.trans(tk)), live, top, den, acc, scale)
        tv = v.load([b, hk, start, 0]).reshape(BN, D)
        acc = tl.dot(p.to(tv.dtype), tv, acc)
    out = tl.where((den > 0.0)[:, None], acc / den[:, None], 0.0)
    o.store([b, h, m0, 0], out.to(o.dtype).reshape(1, 1, BM, D))


@triton.jit
def weights(s, live, lse, scale):
    """The probabilities again, from the logarithms of their sums."""
    base = tl.maximum(lse * 1.4426950408889634, -1e38)
    return tl.exp2(tl.where(live, s, -float("inf")) * (scale * 1.4426950408889634) - base)


@triton.jit
def attention_dq_tma(q, k, v, g, lse, delta, dq, B, H, HK, L, S, scale, D: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    h, b = tl.program_id(1), tl.program_id(2)
    hk = h // (H // HK)
    m0 = tl.program_id(0) * BM
    m = m0 + tl.arange(0, BM)
    n = tl.arange(0, BN)
    tq = q.load([b, h, m0, 0]).reshape(BM, D)
    tg = g.load([b, h, m0, 0]).reshape(BM, D)
    rows = (b * H + h) * L + m
    sums = tl.load(lse + rows, mask=m < L, other=0.0)
    shift = tl.load(delta + rows, mask=m < L, other=0.0)
    acc = tl.zeros((BM, D), tl.float32)
    end = tl.minimum(S, m0 + BM + (S - L)) if CAUSAL else S
    for start in range(0, end, BN):
        cols = start + n
        tk = k.load([b, hk, start, 0]).reshape(BN, D)
        tv = v.load([b, hk, start, 0]).reshape(BN, D)
        live = cols[None, :] < S
        if CAUSAL:
            live = live & (cols[None, :] <= m[:, None] + (S - L))
        p = weights(tl.dot(tq, tl.trans(tk)), live, sums[:, None], scale)
        ds = p * (tl.dot(tg, tl.trans(tv)) - shift[:, None])
        acc = tl.dot(ds.to(tk.dtype), tk, acc)
    dq.store([b, h, m0, 0], (acc * scale).to(dq.dtype).reshape(1, 1, BM, D))


@triton.jit
def attention_dkdv_tma(
    q, k, v, g, lse, delta, dk, dv, B, H, HK, L, S, scale, D: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr
):
    hk, b = tl.program_id(1), tl.program_id(2)
    n0 = tl.program_id(0) * BN
    n = n0 + tl.arange(0, BN)
    tk = k.load([b, hk, n0, 0]).reshape(BN, D)
    tv = v.load([b, hk, n0, 0]).reshape(BN, D)
    sum_k = tl.zeros((BN, D), tl.float32)
    sum_v = tl.zeros((BN, D), tl.float32)
    first = tl.minimum(tl.maximum(n0 - (S - L), 0), L) // BM * BM if CAUSAL else 0
    for h in range(hk * (H // HK), (hk + 1) * (H // HK)):
        for start in range(first, L, BM):
            m = start + tl.arange(0, BM)
            tq = q.load([b, h, start, 0]).reshape(BM, D)
            tg = g.load([b, h, start, 0]).reshape(BM, D)
            rows = (b * H + h) * L + m
            sums = tl.load(lse + rows, mask=m < L, other=0.0)
            live = m[None, :] < L
            if CAUSAL:
                live = live & (m[None, :] + (S - L) >= n[:, None])
            p = weights(tl.dot(tk, tl.trans(tq)), live, sums[None, :], scale)
            sum_v = tl.dot(p.to(tg.dtype), tg, sum_v)
            shift = tl.load(delta + rows, mask=m < L, other=0.0)
            ds = p * (tl.dot(tv, tl.trans(tg)) - shift[None, :])
            sum_k = tl.dot(ds.to(tq.dtype), tq, sum_k)
    dk.store([b, hk, n0, 0], (sum_k * scale).to(dk.dtype).reshape(1, 1, BN, D))
    dv.store([b, hk, n0, 0], sum_v.to(dv.dtype).reshape(1, 1, BN, D))


COMPILED = (vector_add, softmax, layer_norm, matmul, matmul_tma, attention, attention_tma, attention_dq_tma, attention_dkdv_tma)
KERNELS = {f.fn.__name__: f for f in COMPILED}
TYPES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}
# Parameters that are no tensors; all but these are i32 and, as sizes of a usual launch, divisible by 16.
FLOATS = ("eps", "scale")
TENSORS = (*"abcqkvoxywzg", "dq", "dk", "dv")
# Tensors of one number a row, f32 always.
ROWS = ("lse", "delta")


def source(kernel, elem, constants):
    """The function with its types, and what a launch with usual sizes would find out about them."""
    fn = KERNELS[kernel]
    signature, attributes = {}, {}
    for i, name in enumerate(fn.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in FLOATS:
            signature[name] = "fp32"
        elif name in ROWS:
            signature[name] = "*fp32"
            attributes[(i,)] = [["tt.divisibility", 16]]
        elif name in TENSORS:
            signature[name] = f"*{elem}"
            if kernel.endswith("_tma"):
                signature[name] = f"tensordesc<{elem}[{block(kernel, name, constants)}]>"
                continue
            attributes[(i,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "i32"
            if name not in ("B", "H", "HK"):
                attributes[(i,)] = [["tt.divisibility", 16]]
    return ASTSource(fn=fn, signature=signature, constexprs=constants, attrs=attributes)


def block(kernel, name, constants):
    """The extents of a descriptor's tile."""
    if kernel == "matmul_tma":
        axes = {"a": ("BM", "BK"), "b": ("BK", "BN"), "c": ("BM", "BN")}[name]
        return ",".join(str(constants[axis]) for axis in axes)
    return f"1,1,{constants['BM' if name in ('q', 'o', 'g', 'dq') else 'BN']},{constants['D']}"


stages = []


def listen(*, times, **_):
    stages[:] = [("ast", times.ir_initialization), *times.lowering_stages]


def answer(request):
    kernel, arch, warps, pipeline, elem, constants = request.split()
    constants = dict(pair.split("=") for pair in constants.split(",")) if constants != "-" else {}
    constants = {name: int(value) for name, value in constants.items()}
    options = {"num_warps": int(warps), "num_stages": int(pipeline)}
    triton.compile(source(kernel, TYPES[elem], constants), target=GPUTarget("cuda", int(arch), 32), options=options)
    return " ".join(f"{name} {time / 1e6}" for name, time in stages)


def main():
    triton.knobs.compilation.listener = listen
    if sys.argv[1] == "once":
        start = time.perf_counter()
        triton.runtime.cache.triton_key()
        keyed = time.perf_counter()
        rest = answer(sys.argv[2])
        print(f"import {IMPORTED - BEGIN} key {keyed - start} compile {time.perf_counter() - keyed} {rest}")
        return
    triton.knobs.compilation.always_compile = True
    for line in sys.stdin:
        try:
            print(answer(line), flush=True)
        except Exception as error:  # the bench reports it and goes on without this figure
            print("error", " ".join(str(error).split()), flush=True)


if __name__ == "__main__":
    main()
