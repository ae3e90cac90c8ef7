"""Kiln against cuBLAS (torch), torch and Triton on one GPU, in one run: the same work on the same random data, medians by CUDA events with a cold second-level cache.

usage: gpu.py --kiln PATH --examples DIR --out FILE.json [--seconds S] [--quick]

Each row is one piece of work at one size. Peers run in this process, Kiln's side is `kiln bench` (events, caches flushed) on random data of the same distribution; its
results are checked apart from the clock: `kiln run` on tensors that torch made, against torch in float32, by |out - ref| / |ref| (Frobenius norms), with the result poisoned
before. What is missing (torch, triton, a GPU) is reported as absent, never guessed. Nothing here changes the GPU's settings.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

try:
    import torch
except ImportError:
    torch = None
try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

KILN_TYPES = {"bf16": "bf16", "f16": "f16", "f32": "f32"}
# Largest |out - ref| / |ref| of a right result: operands of so many bits, sums in f32.
ALLOWED = {"bf16": 1e-2, "f16": 2e-3, "f32": 1e-5}


def has_gpu():
    return torch is not None and torch.cuda.is_available()


def torch_type(name):
    return {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[name]


# ---- Triton's side, written as its tutorials advise ----

if triton is not None:

    @triton.jit
    def triton_softmax(x, y, n, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        at = tl.arange(0, BLOCK)
        v = tl.load(x + row * n + at, mask=at < n, other=-float("inf")).to(tl.float32)
        e = tl.exp(v - tl.max(v, 0))
        tl.store(y + row * n + at, (e / tl.sum(e, 0)).to(y.dtype.element_ty), mask=at < n)

    @triton.jit
    def triton_rms_norm(x, w, y, n, eps, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        at = tl.arange(0, BLOCK)
        v = tl.load(x + row * n + at, mask=at < n, other=0.0).to(tl.float32)
        scale = tl.rsqrt(tl.sum(v * v, 0) / n + eps)
        weight = tl.load(w + at, mask=at < n, other=0.0).to(tl.float32)
        tl.store(y + row * n + at, (v * scale * weight).to(y.dtype.element_ty), mask=at < n)

    @triton.jit
    def triton_layer_norm(x, w, b, y, n, eps, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        at = tl.arange(0, BLOCK)
        inside = at < n
        v = tl.load(x + row * n + at, mask=inside, other=0.0).to(tl.float32)
        d = tl.where(inside, v - tl.sum(v, 0) / n, 0.0)
        scale = tl.rsqrt(tl.sum(d * d, 0) / n + eps)
        weight = tl.load(w + at, mask=inside, other=0.0).to(tl.float32)
        bias = tl.load(b + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(y + row * n + at, (d * scale * weight + bias).to(y.dtype.element_ty), mask=inside)

    @triton.autotune(
        configs=[
            triton.Config({"BM": bm, "BN": bn, "BK": 64, "GROUP": 8}, num_warps=w, num_stages=s)
            for bm, bn, w, s in [(128, 128, 4, 4), (128, 128, 8, 3), (128, 256, 8, 3), (128, 256, 8, 4), (64, 128, 4, 4), (64, 256, 4, 4)]
        ],
        key=["m", "n", "k"],
    )
    @triton.jit
    def triton_matmul(a, b, c, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
        pid = tl.program_id(0)
        rows, cols = tl.cdiv(m, BM), tl.cdiv(n, BN)
        group = pid // (GROUP * cols)
        size = min(rows - group * GROUP, GROUP)
        pm = group * GROUP + (pid % (GROUP * cols)) % size
        pn = (pid % (GROUP * cols)) // size
        om = (pm * BM + tl.arange(0, BM)) % m
        on = (pn * BN + tl.arange(0, BN)) % n
        ok = tl.arange(0, BK)
        pa = a + om[:, None] * k + ok[None, :]
        pb = b + ok[:, None] * n + on[None, :]
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        for at in range(0, tl.cdiv(k, BK)):
            left = tl.load(pa, mask=ok[None, :] < k - at * BK, other=0.0)
            right = tl.load(pb, mask=ok[:, None] < k - at * BK, other=0.0)
            acc = tl.dot(left, right, acc)
            pa += BK
            pb += BK * n
        rm = pm * BM + tl.arange(0, BM)
        rn = pn * BN + tl.arange(0, BN)
        tl.store(c + rm[:, None] * n + rn[None, :], acc.to(c.dtype.element_ty), mask=(rm[:, None] < m) & (rn[None, :] < n))


# ---- the work ----


class Work:
    """One piece of work: torch's way, Triton's way if there is one, and Kiln's kernel with its arguments."""

    def __init__(self, name, size, ty, kernel, shapes, out, reference, peers, flops=None, scalars=None, consts=None):
        self.name, self.size, self.ty, self.kernel = name, size, ty, kernel
        self.shapes, self.out, self.reference, self.peers = shapes, out, reference, peers
        self.flops, self.scalars, self.consts = flops, scalars or {}, consts or {}

    def bytes(self):
        width = 4 if self.ty == "f32" else 2
        return width * (sum(math.prod(s) for s in self.shapes.values()) + math.prod(self.out[1]))

    def inputs(self):
        generator = torch.Generator(device="cuda").manual_seed(len(self.name) * 7919 + sum(self.size))
        made = {}
        for name, shape in self.shapes.items():
            made[name] = torch.randn(shape, device="cuda", dtype=torch.float32, generator=generator).to(torch_type(self.ty))
        return made


def next_pow2(n):
    return 1 << (n - 1).bit_length()


def warps(n):
    return 4 if n <= 2048 else 8 if n <= 8192 else 16


def matmul(m, n, k, ty):
    def cublas(t):
        c = torch.empty((m, n), device="cuda", dtype=torch_type(ty))
        return lambda: torch.matmul(t["a"], t["b"], out=c), lambda: c

    def by_triton(t):
        c = torch.empty((m, n), device="cuda", dtype=torch_type(ty))
        grid = lambda meta: (triton.cdiv(m, meta["BM"]) * triton.cdiv(n, meta["BN"]),)
        return lambda: triton_matmul[grid](t["a"], t["b"], c, m, n, k), lambda: c

    return Work(
        "matmul", (m, n, k), ty, ("matmul", "matmul"), {"a": (m, k), "b": (k, n)}, ("c", (m, n)),
        lambda t: t["a"].float() @ t["b"].float(), {"cublas": cublas, "triton": by_triton}, flops=2 * m * n * k,
    )


def rows(name, m, n, ty):
    shape = (m, n)
    shapes = {"x": shape}
    if name in ("layer_norm", "rms_norm"):
        shapes["w"] = (n,)
    if name == "layer_norm":
        shapes["b"] = (n,)
    functional = torch.nn.functional if torch is not None else None

    def reference(t):
        f = {key: value.float() for key, value in t.items()}
        if name == "softmax":
            return torch.softmax(f["x"], 1)
        if name == "layer_norm":
            return functional.layer_norm(f["x"], (n,), f["w"], f["b"], 1e-5)
        return f["x"] * torch.rsqrt((f["x"] ** 2).mean(1, keepdim=True) + 1e-6) * f["w"]

    def by_torch(t):
        kept = {}

        def run():
            if name == "softmax":
                kept["y"] = torch.softmax(t["x"], 1)
            elif name == "layer_norm":
                kept["y"] = functional.layer_norm(t["x"], (n,), t["w"], t["b"], 1e-5)
            else:
                kept["y"] = functional.rms_norm(t["x"], (n,), t["w"], 1e-6)

        return run, lambda: kept["y"]

    def by_triton(t):
        y = torch.empty_like(t["x"])
        block, w = next_pow2(n), warps(n)
        if name == "softmax":
            run = lambda: triton_softmax[(m,)](t["x"], y, n, BLOCK=block, num_warps=w)
        elif name == "layer_norm":
            run = lambda: triton_layer_norm[(m,)](t["x"], t["w"], t["b"], y, n, 1e-5, BLOCK=block, num_warps=w)
        else:
            run = lambda: triton_rms_norm[(m,)](t["x"], t["w"], y, n, 1e-6, BLOCK=block, num_warps=w)
        return run, lambda: y

    return Work(name, shape, ty, (name, name), shapes, ("y", shape), reference, {"torch": by_torch, "triton": by_triton})


def attention(b, h, length, d, causal, ty):
    shape = (b, h, length, d)

    def by_torch(t):
        kept = {}

        def run():
            kept["o"] = torch.nn.functional.scaled_dot_product_attention(t["q"], t["k"], t["v"], is_causal=causal)

        return run, lambda: kept["o"]

    def reference(t):
        # One head at a time: the whole score matrix of every head does not fit.
        out = torch.empty(shape, device="cuda", dtype=torch.float32)
        for i in range(b):
            for j in range(h):
                s = t["q"][i, j].float() @ t["k"][i, j].float().T / math.sqrt(d)
                if causal:
                    s = s.masked_fill(torch.ones_like(s, dtype=torch.bool).triu(1), -math.inf)
                out[i, j] = torch.softmax(s, 1) @ t["v"][i, j].float()
        return out

    flops = 4 * b * h * length * length * d // (2 if causal else 1)
    return Work(
        "attention_causal" if causal else "attention", shape, ty, ("attention", "attention"), {"q": shape, "k": shape, "v": shape},
        ("o", shape), reference, {"torch": by_torch}, flops=flops, scalars={"scale": 1 / math.sqrt(d)}, consts={"CAUSAL": int(causal)},
    )


def copy_like(n, ty):
    def by_torch(t):
        z = torch.empty_like(t["x"])
        return lambda: torch.add(t["x"], t["y"], out=z), lambda: z

    return Work(
        "vector_add", (n,), ty, ("vector_add", "vector_add"), {"x": (n,), "y": (n,)}, ("z", (n,)), lambda t: t["x"].float() + t["y"].float(),
        {"torch": by_torch},
    )


def all_work(quick):
    if quick:
        return [matmul(128, 128, 128, "bf16"), rows("softmax", 64, 256, "f32"), rows("rms_norm", 64, 256, "bf16"),
                rows("layer_norm", 64, 256, "f32"), attention(1, 2, 128, 64, True, "bf16"), copy_like(1 << 14, "f32")]
    list_ = [copy_like(1 << 26, "f32")]
    for ty in ("bf16", "f16"):
        for n in (1024, 2048, 4096, 8192):
            list_.append(matmul(n, n, n, ty))
    list_ += [matmul(4096, 11008, 4096, "bf16"), matmul(16, 4096, 4096, "bf16"), matmul(2048, 2048, 2048, "f32")]
    for name in ("softmax", "layer_norm", "rms_norm"):
        for n in (1024, 4096, 8192, 16384):
            list_.append(rows(name, 8192, n, "bf16"))
        list_.append(rows(name, 8192, 4096, "f32"))
    for d in (64, 128):
        for length in (1024, 4096, 16384):
            for causal in (False, True):
                list_.append(attention(max(1, 16384 // length), 2048 // d, length, d, causal, "bf16"))
    return list_


# ---- measuring ----


def event_times(run, seconds):
    """Times of single runs in seconds by events, the second-level cache overwritten before each."""
    flush = torch.empty(2 * torch.cuda.get_device_properties(0).L2_cache_size, dtype=torch.uint8, device="cuda")
    for _ in range(5):
        run()
    torch.cuda.synchronize()
    times, end_at = [], time.perf_counter() + seconds
    while len(times) < 20 or (time.perf_counter() < end_at and len(times) < 400):
        flush.zero_()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return times


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def relative_error(out, reference):
    out, reference = out.float(), reference.float()
    return float(torch.linalg.vector_norm(out - reference) / torch.linalg.vector_norm(reference))


def measure_peer(work, make, seconds, reference, inputs):
    run, result = make(inputs)
    run()
    torch.cuda.synchronize()
    error = relative_error(result(), reference)
    return {"median_seconds": median(event_times(run, seconds)), "error": error}


class Kiln:
    def __init__(self, path, examples):
        self.path, self.examples = path, examples

    def command(self, verb, work, args):
        folder, kernel = work.kernel
        line = [self.path, verb, os.path.join(self.examples, folder, folder + ".kiln"), "--kernel", kernel, "--device", "cuda"]
        for name, value in work.scalars.items():
            line += ["--arg", f"{name}={value!r}"]
        for name, value in work.consts.items():
            line += ["--const", f"{name}={value}"]
        for arg in args:
            line += ["--arg", arg]
        return line + ["--message-format", "json"]

    def ask(self, line, limit):
        ran = subprocess.run(line, capture_output=True, text=True, timeout=limit)
        if ran.returncode != 0:
            raise RuntimeError((ran.stdout + ran.stderr)[-2000:])
        return [json.loads(text) for text in ran.stdout.splitlines() if text.startswith("{")]

    def bench(self, work, seconds):
        shape = lambda dims: ", ".join(map(str, dims))
        args = [f"{name}=randn({shape(dims)}):{KILN_TYPES[work.ty]}" for name, dims in work.shapes.items()]
        found = self.ask(self.command("bench", work, args) + ["--seconds", str(seconds)], 120 + 10 * seconds)
        row = [r for r in found if "median_seconds" in r][-1]
        return {"median_seconds": row["median_seconds"], "configuration": row.get("configuration")}

    def check(self, work, inputs, reference, folder):
        """Runs the kernel on torch's tensors, and compares."""
        args = []
        shape = lambda dims: ", ".join(map(str, dims))
        for name, dims in work.shapes.items():
            path = os.path.join(folder, name + ".bin")
            inputs[name].contiguous().view(torch.uint8).cpu().numpy().tofile(path)
            args.append(f"{name}=@{path}:{KILN_TYPES[work.ty]}[{shape(dims)}]")
        out, dims = work.out
        # Poisoned: what the kernel does not write stays NaN.
        poison = os.path.join(folder, out + ".bin")
        torch.full(dims, math.nan, dtype=torch_type(work.ty)).view(torch.uint8).numpy().tofile(poison)
        args.append(f"{out}=@{poison}:{KILN_TYPES[work.ty]}[{shape(dims)}]")
        result = os.path.join(folder, "result.safetensors")
        self.ask(self.command("run", work, args) + ["--out", f"{out}={result}"], 300)
        found = read_safetensors(result, out).view(torch_type(work.ty)).reshape(dims).cuda()
        return relative_error(found, reference)


def read_safetensors(path, name):
    """The bytes of one tensor (the format: a length, a JSON header, the data)."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begin, end = json.loads(file.read(length))[name]["data_offsets"]
        file.seek(8 + length + begin)
        return torch.frombuffer(bytearray(file.read(end - begin)), dtype=torch.uint8)


def ceilings(seconds):
    """What the machine can do, measured by torch: a large copy, and a large product."""
    x = torch.randn(1 << 30, device="cuda", dtype=torch.float32).view(torch.uint8)
    y = torch.empty_like(x)
    copy = 2 * x.numel() / median(event_times(lambda: y.copy_(x), seconds)) / 1e12
    a, b = (torch.randn(8192, 8192, device="cuda").bfloat16() for _ in range(2))
    product = 2 * 8192**3 / median(event_times(lambda: torch.matmul(a, b), seconds)) / 1e12
    return {"copy_terabytes_per_second": copy, "bf16_teraflops": product}


def measure(work, kiln, seconds, with_kiln=True):
    row = {"work": work.name, "size": list(work.size), "type": work.ty, "bytes": work.bytes(), "flops": work.flops, "results": {}}
    inputs = reference = None
    if has_gpu():
        inputs = work.inputs()
        reference = work.reference(inputs)
    for name, make in work.peers.items():
        if not has_gpu():
            row["results"][name] = {"absent": "torch with a GPU is not installed"}
        elif name == "triton" and triton is None:
            row["results"][name] = {"absent": "triton is not installed"}
        else:
            try:
                row["results"][name] = measure_peer(work, make, seconds, reference, inputs)
            except Exception as error:  # a peer that fails is a fact of the report
                row["results"][name] = {"failed": str(error)[-500:]}
    try:
        mine = kiln.bench(work, seconds)
        if inputs is None:
            mine["error"] = None
        else:
            with tempfile.TemporaryDirectory() as folder:
                mine["error"] = kiln.check(work, inputs, reference, folder)
            mine["right"] = mine["error"] <= ALLOWED[work.ty]
    except (RuntimeError, subprocess.TimeoutExpired, OSError, IndexError) as error:
        mine = {"failed": str(error)[-1500:]}
    row["results"]["kiln"] = mine
    return row


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--kiln", required=True)
    options.add_argument("--examples", required=True)
    options.add_argument("--out", required=True)
    options.add_argument("--seconds", type=float, default=0.5)
    options.add_argument("--quick", action="store_true", help="small sizes: whether everything works, not how fast it is")
    options.add_argument("--deadline", type=float, default=math.inf, help="no new work after this many seconds")
    options = options.parse_args()
    begun = time.perf_counter()
    report = {"torch": getattr(torch, "__version__", None), "triton": getattr(triton, "__version__", None), "rows": [], "left_out": []}
    report["gpu"] = torch.cuda.get_device_name(0) if has_gpu() else None
    if has_gpu() and not options.quick:
        report["ceilings"] = ceilings(options.seconds)
    kiln = Kiln(options.kiln, options.examples)
    for work in all_work(options.quick):
        if time.perf_counter() - begun > options.deadline:
            report["left_out"].append([work.name, list(work.size), work.ty])
            continue
        row = measure(work, kiln, options.seconds)
        report["rows"].append(row)
        print(json.dumps(row), flush=True)
        # After each row: what was measured stays when the time runs out.
        with open(options.out, "w") as file:
            json.dump(report, file, indent=1)
    with open(options.out, "w") as file:
        json.dump(report, file, indent=1)
    return 1 if any("failed" in r["results"]["kiln"] for r in report["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
