"""cuTile Python as the peer of Kiln's counts of machine code: the same tiles as Kiln's examples, masks where they have some."""

import cuda.tile as ct

LOG2E = 1.4426950408889634


@ct.kernel
def matmul(a, b, c, BM: ct.Constant[int], BN: ct.Constant[int], BK: ct.Constant[int]):
    """c = a @ b."""
    i, j = ct.bid(0), ct.bid(1)
    acc = ct.full((BM, BN), 0, dtype=ct.float32)
    for k in range(ct.num_tiles(a, axis=1, shape=(BM, BK))):
        ta = ct.load(a, index=(i, k), shape=(BM, BK), padding_mode=ct.PaddingMode.ZERO)
        tb = ct.load(b, index=(k, j), shape=(BK, BN), padding_mode=ct.PaddingMode.ZERO)
        acc = ct.mma(ta, tb, acc)
    ct.store(c, index=(i, j), tile=ct.astype(acc, c.dtype))


@ct.kernel
def attention(
    q, k, v, o, scale: float, S: int, D: ct.Constant[int], CAUSAL: ct.Constant[int], BM: ct.Constant[int], BN: ct.Constant[int]
):
    """o = softmax(q trans(k) * scale) v, a block of rows a program."""
    m, h, b = ct.bid(0), ct.bid(1), ct.bid(2)
    tq = ct.load(q, index=(b, h, m, 0), shape=(1, 1, BM, D), padding_mode=ct.PaddingMode.ZERO).reshape((BM, D))
    acc = ct.full((BM, D), 0.0, dtype=ct.float32)
    top = ct.full((BM, 1), -float("inf"), dtype=ct.float32)
    den = ct.full((BM, 1), 0.0, dtype=ct.float32)
    rows = m * BM + ct.arange(BM, dtype=ct.int32)[:, None]
    end = ct.cdiv(S, BN)
    if CAUSAL:
        end = min(end, ct.cdiv((m + 1) * BM, BN))
    for n in range(end):
        tk = ct.load(k, index=(b, h, n, 0), shape=(1, 1, BN, D), padding_mode=ct.PaddingMode.ZERO).reshape((BN, D))
        s = ct.mma(tq, ct.transpose(tk), ct.full((BM, BN), 0.0, dtype=ct.float32)) * (scale * LOG2E)
        cols = n * BN + ct.arange(BN, dtype=ct.int32)[None, :]
        live = cols < S
        if CAUSAL:
            live = live & (cols <= rows)
        s = ct.where(live, s, -float("inf"))
        following = max(top, ct.max(s, axis=1, keepdims=True))
        base = ct.where(following == -float("inf"), 0.0, following)
        p = ct.exp2(s - base)
        keep = ct.exp2(top - base)
        den = den * keep + ct.sum(p, axis=1, keepdims=True)
        tv = ct.load(v, index=(b, h, n, 0), shape=(1, 1, BN, D), padding_mode=ct.PaddingMode.ZERO).reshape((BN, D))
        acc = ct.mma(ct.astype(p, tv.dtype), tv, acc * keep)
        top = following
    out = ct.where(den > 0.0, acc / den, 0.0)
    ct.store(o, index=(b, h, m, 0), tile=ct.astype(out, o.dtype).reshape((1, 1, BM, D)))
