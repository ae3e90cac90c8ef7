"""Compiles Triton kernels to PTX with no GPU and computes with numpy what they must give.

`make_triton.py OUT ARCH` writes for each case `NAME.ptx`, `NAME.case` and the data the case names. A case is a list of lines:

    kernel NAME SHARED_BYTES WARPS GRID_X GRID_Y    first line
    in FILE                                         a buffer with these bytes
    out FILE ROWS COLUMNS                           a buffer of f32 that nothing has written; FILE holds what it must be, as f64
    i32 V, i64 V, f32 V                             a scalar
    map INDEX TYPE SWIZZLE DIMS STRIDE BOX          a tensor map over the INDEX-th buffer of the case; lists are `a,b`
    buffer FILE                                     a buffer that is no argument itself (a tensor map stands for it)

Kernels were written for the emulator's tests. The references are numpy's, in double precision, from the same inputs.
"""

import sys

import numpy as np
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
def descriptors(a, b, c, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM
    n = tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(a.load([m, k]), b.load([k, n]), acc)
    c.store([m, n], acc)


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


random = np.random.default_rng(20261121)


def floats(*shape, dtype=np.float32, scale=1.0):
    return (random.uniform(-scale, scale, shape)).astype(dtype)


def rows_softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rows_norm(x, w, b):
    mean = x.mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * w + b


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


def cases():
    """(kernel, argument types, constants, warps, stages, grid, arguments); an argument of type `Out` is what must come out."""
    F, H, I = "*fp32", "*fp16", "i32"
    x, y = floats(1000), floats(1000)
    yield vadd, [F, F, F, I], {"B": 256}, 4, 1, (4, 1), [x, y, Out(sum(wide(x, y))), 1000]
    x = floats(3, 1000, scale=5)
    yield softmax, [F, F, I], {"B": 1024}, 4, 1, (3, 1), [x, Out(rows_softmax(*wide(x))), 1000]
    x, w, b = floats(2, 900, scale=3), floats(900), floats(900)
    yield layernorm, [F, F, F, F, I], {"B": 1024}, 4, 1, (2, 1), [x, w, b, Out(rows_norm(*wide(x, w, b))), 900]
    m, n, k = 64, 128, 160
    a, b = floats(m, k, dtype=np.float16), floats(k, n, dtype=np.float16)
    product = Out(np.matmul(*wide(a, b)))
    yield matmul, [H, H, F, I, I, I], {"BM": 64, "BN": 64, "BK": 32}, 4, 3, (1, 2), [a, b, product, m, n, k]
    # Neither extent nor depth is a multiple of its tile: the descriptors clip and fill.
    m, n, k = 104, 88, 168
    a, b = floats(m, k, dtype=np.float16), floats(k, n, dtype=np.float16)
    tiles = {"BM": 64, "BN": 64, "BK": 64}
    types = ["tensordesc<fp16[64,64]>", "tensordesc<fp16[64,64]>", "tensordesc<fp32[64,64]>", I]
    yield descriptors, types, tiles, 4, 3, (2, 2), [a, b, Out(np.matmul(*wide(a, b))), k]
    n, d = 128, 64
    q, k, v = (floats(n, d, dtype=np.float16) for _ in range(3))
    wq, wk, wv = wide(q, k, v)
    out = Out(rows_softmax(wq @ wk.T * 0.125) @ wv)
    types = [H, H, H, F, I, "fp32"]
    yield attention, types, {"BM": 64, "BN": 32, "D": 64}, 4, 2, (2, 1), [q, k, v, out, n, 0.125]


class Out:
    """What a buffer of f32 must hold afterwards."""

    def __init__(self, values):
        self.values = values


# CUtensorMapDataType of a Triton element type, as its launcher translates it.
HOST_TYPES = {6: "f16", 7: "f32"}


def compile_case(fn, types, constants, warps, stages, arch):
    names = list(fn.arg_names)
    signature = dict(zip(names, types)) | {name: "constexpr" for name in constants}
    # What Triton's launcher finds out by itself: pointers and strides that are multiples of 16.
    aligned = [i for i, (name, t) in enumerate(zip(names, types)) if t.startswith("*") or name in ("M", "N", "K")]
    attrs = {(i,): [["tt.divisibility", 16]] for i in aligned}
    source = ASTSource(fn=fn, signature=signature, constexprs=constants, attrs=attrs)
    options = {"num_warps": warps, "num_stages": stages}
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


def arguments(out, name, types, values, metadata):
    """The lines of a case after the first; writes the data files."""
    lines, maps = [], iter(metadata.tensordesc_meta or [])
    for index, (kind, value) in enumerate(zip(types, values)):
        if isinstance(value, (int, float)):
            lines.append(f"{'f32' if kind == 'fp32' else 'i32'} {value}")
            continue
        array = value.values if isinstance(value, Out) else value
        file = f"{name}.{index}"
        array.tofile(f"{out}/{file}")
        rows, columns = array.reshape(-1, array.shape[-1]).shape
        line = f"out {file} {rows} {columns}" if isinstance(value, Out) else f"in {file}"
        if not kind.startswith("tensordesc"):
            lines.append(line)
            continue
        element = 4 if isinstance(value, Out) else array.itemsize
        if metadata.tensordesc_meta:
            meta = next(maps)
            assert meta["elem_size"] == element and not meta["fp4_padded"], meta
            box = ",".join(str(b) for b in reversed(meta["block_size"]))
            # The buffer itself is not an argument; the map over it is.
            lines.append(f"buffer {line}")
            lines.append(f"map {HOST_TYPES[meta['elem_type']]} {meta['swizzle']} {columns},{rows} {columns * element} {box}")
        else:
            lines.append(line)
            # Shape, strides, padding, rounding.
            lines += [f"i64 {rows}", f"i64 {columns}", f"i64 {columns}", "i64 1", "i1 0", "i1 0"]
        lines += [f"i32 {rows}", f"i32 {columns}", f"i64 {columns}", "i64 1"]
    return lines


def main(out, arch):
    for fn, types, constants, warps, stages, (x, y), values in cases():
        name = fn.__name__
        done = compile_case(fn, types, constants, warps, stages, arch)
        meta = done.metadata
        assert meta.global_scratch_size == 0, f"{name} needs scratch memory"
        with open(f"{out}/{name}.ptx", "w") as f:
            f.write(done.asm["ptx"])
        first = f"kernel {meta.name} {meta.shared} {meta.num_warps} {x} {y}"
        with open(f"{out}/{name}.case", "w") as f:
            f.write("\n".join([first, *arguments(out, name, types, values, meta)]) + "\n")


main(sys.argv[1], int(sys.argv[2]))
