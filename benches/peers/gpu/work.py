"""The work that is measured: shapes and types, what Kiln launches for it, the peers' ways, and a reference in float32."""

import math
from dataclasses import dataclass, field


@dataclass
class Step:
    """One launch of Kiln's: (folder, file, kernel) below the examples, what it reads and writes, and what else the command line says. Of `schedules`, which are tuned each by itself, the
    fastest counts."""

    kernel: tuple
    reads: list
    writes: list
    scalars: dict = field(default_factory=dict)
    consts: dict = field(default_factory=dict)
    types: dict = field(default_factory=dict)
    schedules: list = field(default_factory=lambda: [{}])


@dataclass
class Work:
    """One piece of work at one size. `tensors`: name -> (dims, type) of all that steps read or write; `compared`: outputs that are held against `reference`; `peers`: name -> a function
    that gives, for inputs, how to run it and how to get its outputs by name. Bytes are those of what is read and written once."""

    name: str
    size: tuple
    ty: str
    tensors: dict
    steps: list
    compared: list
    reference: object
    peers: dict
    flops: int = None

    def tensor(self, name):
        return self.tensors[name]

    def inputs(self):
        written = {name for step in self.steps for name in step.writes}
        return [name for step in self.steps for name in step.reads if name not in written]

    def bytes(self):
        width = {"f32": 4, "bf16": 2, "f16": 2, "f8": 1}
        names = dict.fromkeys(self.inputs() + self.compared)
        return sum(width[ty] * math.prod(dims) for dims, ty in (self.tensors[name] for name in names))

    def make_inputs(self):
        import torch

        from torch_types import torch_type

        generator = torch.Generator(device="cuda").manual_seed(len(self.name) * 7919 + sum(self.size))
        made = {}
        for name in dict.fromkeys(self.inputs()):
            dims, ty = self.tensors[name]
            made[name] = torch.randn(dims, device="cuda", dtype=torch.float32, generator=generator).to(torch_type(ty))
        return made


def named(name, pair):
    """A way with one output as one with named outputs."""
    run, result = pair
    return run, lambda: {name: result()}


def schedules_of_products(m, n):
    """For kernels whose tune list has nothing for Hopper alone: blocks that run program after program, in pairs too, or several that share one where there are few."""
    programs = -(-m // 128) * -(-n // 128)
    if programs < 66:
        return [{}, {"split_k": 2}, {"split_k": 4}, {"split_k": 8}]
    return [{}, {"persistent": 1}, {"persistent": 1, "cluster": 2}, {"persistent": 1, "ping_pong": 1}]


def matmul(m, n, k, ty):
    """c = a @ b."""

    def cublas(t):
        import torch

        c = torch.empty((m, n), device="cuda", dtype=t["a"].dtype)
        return lambda: torch.matmul(t["a"], t["b"], out=c), lambda: {"c": c}

    def triton(t):
        import by_triton

        return named("c", by_triton.matmul(t["a"], t["b"], t["a"].dtype))

    def cutile(t):
        import by_cutile

        return named("c", by_cutile.matmul(t["a"], t["b"], t["a"].dtype))

    return Work(
        "matmul", (m, n, k), ty, {"a": ((m, k), ty), "b": ((k, n), ty), "c": ((m, n), ty)},
        [Step(("matmul", "matmul", "matmul"), ["a", "b"], ["c"])], ["c"],
        lambda t: {"c": t["a"].float() @ t["b"].float()}, {"cublas": cublas, "triton": triton, "cutile": cutile}, flops=2 * m * n * k,
    )


def matmul_f8(m, n, k):
    """y = x @ trans(w) of 8-bit floats with one scale for each tensor, sums in f32, out in bf16."""

    def cublas(fast):
        def make(t):
            import torch

            one = torch.ones((), device="cuda", dtype=torch.float32)
            kept = {}

            def run():
                kept["y"] = torch._scaled_mm(t["x"], t["w"].t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=fast)

            return run, lambda: kept

        return make

    def triton(t):
        import by_triton
        import torch

        return named("y", by_triton.matmul(t["x"], t["w"].t(), torch.bfloat16))

    step = Step(("matmul", "fused", "linear_f8"), ["x", "w"], ["y"], scalars={"scale_x": 1.0, "scale_w": 1.0}, types={"T": "bf16"}, schedules=schedules_of_products(m, n))
    return Work(
        "matmul_f8", (m, n, k), "f8", {"x": ((m, k), "f8"), "w": ((n, k), "f8"), "y": ((m, n), "bf16")}, [step], ["y"],
        lambda t: {"y": t["x"].float() @ t["w"].float().t()},
        {"cublas": cublas(False), "cublas, fast sums": cublas(True), "triton": triton}, flops=2 * m * n * k,
    )


def rows(name, m, n, ty):
    """softmax, layer_norm or rms_norm of each row."""
    tensors = {"x": ((m, n), ty), "y": ((m, n), ty)}
    reads = ["x"]
    if name in ("layer_norm", "rms_norm"):
        tensors["w"] = ((n,), ty)
        reads.append("w")
    if name == "layer_norm":
        tensors["b"] = ((n,), ty)
        reads.append("b")

    def by_torch(t):
        import torch

        functional = torch.nn.functional
        if name == "softmax":
            return torch.softmax(t["x"], 1)
        if name == "layer_norm":
            return functional.layer_norm(t["x"], (n,), t["w"], t["b"], 1e-5)
        return functional.rms_norm(t["x"], (n,), t["w"], 1e-6)

    def torch_way(t):
        kept = {}

        def run():
            kept["y"] = by_torch(t)

        return run, lambda: kept

    def triton(t):
        import by_triton

        return named("y", by_triton.rows(name, t))

    return Work(
        name, (m, n), ty, tensors, [Step((name, name, name), reads, ["y"])], ["y"],
        lambda t: {"y": by_torch({key: value.float() for key, value in t.items()})}, {"torch": torch_way, "triton": triton},
    )


def sdpa(backend):
    """torch's scaled_dot_product_attention by one of its libraries."""

    def forward(t, causal):
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        with sdpa_kernel(getattr(SDPBackend, backend)):
            return torch.nn.functional.scaled_dot_product_attention(t["q"], t["k"], t["v"], is_causal=causal)

    return forward


BACKENDS = {"cudnn": "CUDNN_ATTENTION", "flash (torch)": "FLASH_ATTENTION"}


def exact_head(t, i, j, causal):
    """Attention of one head in float32: the score matrices of all heads do not fit."""
    import torch

    q, k, v = (t[name][i, j].float() for name in "qkv")
    s = q @ k.T / math.sqrt(q.shape[1])
    if causal:
        s = s.masked_fill(torch.ones_like(s, dtype=torch.bool).triu(1), -math.inf)
    return torch.softmax(s, 1) @ v


def heads(t):
    b, h = t["q"].shape[:2]
    return [(i, j) for i in range(b) for j in range(h)]


def attention_tensors(shape, ty):
    return {name: (shape, ty) for name in "qkvo"}


def attention(b, h, length, d, causal, ty):
    """o = softmax(q trans(k) / sqrt(d)) v."""
    shape, scale = (b, h, length, d), 1 / math.sqrt(d)

    def by_torch(backend):
        def make(t):
            kept = {}

            def run():
                kept["o"] = sdpa(backend)(t, causal)

            return run, lambda: kept

        return make

    def triton(t):
        import by_triton

        return named("o", by_triton.attention(t, scale, causal))

    def cutile(t):
        import by_cutile

        return named("o", by_cutile.attention(t, scale, causal))

    def reference(t):
        import torch

        out = torch.empty(shape, device="cuda", dtype=torch.float32)
        for i, j in heads(t):
            out[i, j] = exact_head(t, i, j, causal)
        return {"o": out}

    peers = {name: by_torch(backend) for name, backend in BACKENDS.items()}
    step = Step(("attention", "attention", "attention"), ["q", "k", "v"], ["o"], {"scale": scale}, {"CAUSAL": int(causal)})
    return Work(
        "attention_causal" if causal else "attention", shape, ty, attention_tensors(shape, ty), [step], ["o"], reference,
        peers | {"triton": triton, "cutile": cutile}, flops=4 * b * h * length * length * d // (2 if causal else 1),
    )


def attention_backward(b, h, length, d, causal, ty):
    """dq, dk, dv from dout; the forward pass, which leaves o and lse, is not counted."""
    shape, scale = (b, h, length, d), 1 / math.sqrt(d)
    by_row = ((b, h, length), "f32")
    tensors = attention_tensors(shape, ty) | {name: (shape, ty) for name in ("dout", "dq", "dk", "dv")} | {"lse": by_row, "delta": by_row}
    with_scale, causally = {"scale": scale}, {"CAUSAL": int(causal)}
    file = ("attention", "backward")
    known = ["q", "k", "v", "dout", "lse", "delta"]
    steps = [
        Step(file + ("attention_delta",), ["o", "dout"], ["delta"]),
        Step(file + ("attention_dq",), known, ["dq"], with_scale, causally),
        Step(file + ("attention_dkdv",), known, ["dk", "dv"], with_scale, causally),
    ]

    def by_torch(backend):
        def make(t):
            import torch

            leaves = {name: t[name].detach().clone().requires_grad_() for name in "qkv"}
            o = sdpa(backend)(leaves, causal)
            kept = {}

            def run():
                kept.update(zip(("dq", "dk", "dv"), torch.autograd.grad(o, list(leaves.values()), t["dout"], retain_graph=True)))

            return run, lambda: kept

        return make

    def reference(t):
        import torch

        out = {name: torch.empty(shape, device="cuda", dtype=torch.float32) for name in ("dq", "dk", "dv")}
        for i, j in heads(t):
            leaves = {name: t[name][i : i + 1, j : j + 1].float().requires_grad_() for name in "qkv"}
            gradients = torch.autograd.grad(exact_head(leaves, 0, 0, causal), list(leaves.values()), t["dout"][i, j].float())
            for name, gradient in zip(out, gradients):
                out[name][i, j] = gradient[0, 0]
        return out

    return AttentionBackward(
        "attention_backward_causal" if causal else "attention_backward", shape, ty, tensors, steps, ["dq", "dk", "dv"], reference,
        {name: by_torch(backend) for name, backend in BACKENDS.items()}, flops=10 * b * h * length * length * d // (2 if causal else 1),
    )


class AttentionBackward(Work):
    """Its inputs o and lse are those of a forward pass."""

    def make_inputs(self):
        import torch

        made = super().make_inputs()
        causal = self.name.endswith("causal")
        for i, j in heads(made):
            q, k = made["q"][i, j].float(), made["k"][i, j].float()
            s = q @ k.T / math.sqrt(q.shape[1])
            if causal:
                s = s.masked_fill(torch.ones_like(s, dtype=torch.bool).triu(1), -math.inf)
            made["lse"][i, j] = torch.logsumexp(s, 1)
            made["o"][i, j] = (torch.softmax(s, 1) @ made["v"][i, j].float()).to(made["o"].dtype)
        return made


def vector_add(n, ty):
    """z = x + y: nearly what a copy costs."""

    def by_torch(t):
        import torch

        z = torch.empty_like(t["x"])
        return lambda: torch.add(t["x"], t["y"], out=z), lambda: {"z": z}

    return Work(
        "vector_add", (n,), ty, {name: ((n,), ty) for name in "xyz"}, [Step(("vector_add", "vector_add", "vector_add"), ["x", "y"], ["z"])], ["z"],
        lambda t: {"z": t["x"].float() + t["y"].float()}, {"torch": by_torch},
    )


# (n, k) of the linear layers of models with 7 and 70 billion parameters (Touvron et al., "Llama 2", 2023): attention's output, and the feed-forward layers.
LAYERS = [(4096, 4096), (11008, 4096), (4096, 11008), (8192, 8192), (28672, 8192), (8192, 28672)]


def all_work(quick):
    """Everything, the most telling first: time may end before the list does."""
    if quick:
        return [
            matmul(128, 128, 128, "bf16"), matmul_f8(128, 128, 256), rows("softmax", 64, 256, "f32"), rows("rms_norm", 64, 256, "bf16"),
            rows("layer_norm", 64, 256, "f32"), attention(1, 2, 128, 64, True, "bf16"), attention_backward(1, 2, 128, 64, True, "bf16"),
            vector_add(1 << 14, "f32"),
        ]
    bf16, f16 = lambda m, n, k: matmul(m, n, k, "bf16"), lambda m, n, k: matmul(m, n, k, "f16")
    square = lambda sizes: [make(n, n, n) for n in sizes for make in (bf16, f16, matmul_f8)]
    attentions = lambda lengths, dims, make: [
        make(max(1, 16384 // length), 2048 // d, length, d, causal, "bf16") for d in dims for length in lengths for causal in (False, True)
    ]
    of_rows = lambda n, ty: [rows(name, 8192, n, ty) for name in ("softmax", "layer_norm", "rms_norm")]
    layers = lambda batches, make: [make(m, n, k) for m in batches for n, k in LAYERS]
    return (
        [vector_add(1 << 26, "f32")] + square((4096, 8192)) + attentions((4096, 16384), (128, 64), attention) + of_rows(4096, "bf16")
        + layers((1, 64, 4096), bf16) + attentions((4096, 16384), (128, 64), attention_backward) + square((1024, 2048, 16384, 512))
        + of_rows(1024, "bf16") + of_rows(8192, "bf16") + of_rows(16384, "bf16") + of_rows(4096, "f32")
        + attentions((1024, 2048, 8192), (128, 64), attention) + attentions((1024, 8192), (128, 64), attention_backward)
        + layers((16, 256, 1024, 8192), bf16) + layers((1, 64, 4096), matmul_f8) + [matmul(2048, 2048, 2048, "f32")]
    )
