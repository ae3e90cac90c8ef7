"""Machine code of the same tiles by Kiln, Triton and cuTile Python, counted side by side for sm_90a. No GPU is needed: all three name their target.

usage: sass.py --kiln KILN --examples DIR --tools DIR [--out FILE.md]

KILN is the command, DIR with the examples' kernel files, DIR with ptxas and nvdisasm. Triton, cuda-tile and tileiras are imported from PYTHONPATH. For each kernel and compiler
the table has the steady-state loop of one warp: the one with the fewest other instructions for an HGMMA, masks of edges left out. Counted are static instructions, waits included. A
compiler that fails has its message in place of figures.
"""

import argparse
import collections
import datetime
import io
import os
import re
import subprocess
import sys
import tempfile

# (label, kernel, constants, consumer warps, stages); of gradients cuTile has none
WORKS = [
    ("matmul bf16 128x128x64, 4 warps", "matmul", {"BM": 128, "BN": 128, "BK": 64}, 4, 3),
    ("matmul bf16 128x128x64, 8 warps", "matmul", {"BM": 128, "BN": 128, "BK": 64}, 8, 4),
    ("matmul bf16 128x256x64, 8 warps", "matmul", {"BM": 128, "BN": 256, "BK": 64}, 8, 4),
    ("matmul bf16 256x128x64, 8 warps", "matmul", {"BM": 256, "BN": 128, "BK": 64}, 8, 4),
    ("attention bf16 128x64, head of 64, 8 warps", "attention", {"D": 64, "CAUSAL": 0, "BM": 128, "BN": 64}, 8, 2),
    ("attention bf16 128x128, head of 128, 8 warps", "attention", {"D": 128, "CAUSAL": 0, "BM": 128, "BN": 128}, 8, 2),
    ("attention bf16 128x128, head of 128, causal, 8 warps", "attention", {"D": 128, "CAUSAL": 1, "BM": 128, "BN": 128}, 8, 2),
    ("gradient of queries bf16 128x64, head of 64, 8 warps", "attention_dq", {"D": 64, "CAUSAL": 0, "BM": 128, "BN": 64}, 8, 3),
    ("gradient of queries bf16 128x64, head of 128, 8 warps", "attention_dq", {"D": 128, "CAUSAL": 0, "BM": 128, "BN": 64}, 8, 3),
    ("gradient of queries bf16 128x64, head of 128, causal, 8 warps", "attention_dq", {"D": 128, "CAUSAL": 1, "BM": 128, "BN": 64}, 8, 3),
    ("gradients of keys and values bf16 64x128, head of 64, 8 warps", "attention_dkdv", {"D": 64, "CAUSAL": 0, "BM": 64, "BN": 128}, 8, 3),
    ("gradients of keys and values bf16 64x128, head of 128, 8 warps", "attention_dkdv", {"D": 128, "CAUSAL": 0, "BM": 64, "BN": 128}, 8, 2),
    ("gradients of keys and values bf16 64x128, head of 128, causal, 8 warps", "attention_dkdv", {"D": 128, "CAUSAL": 1, "BM": 64, "BN": 128}, 8, 2),
]
# File of a kernel where it has not its name, and extents of tensors: they divide by 16 and fit into 32 bits, as the others are told.
FILES = {"attention_dq": "attention/backward.kiln", "attention_dkdv": "attention/backward.kiln"}
HEADS = {"B": 4, "H": 16, "HK": 16, "L": 4096, "S": 4096}
DIMS = {"matmul": {"M": 4096, "N": 4096, "K": 4096}, "attention": HEADS, "attention_dq": HEADS, "attention_dkdv": HEADS}
SHOWN = ("BAR.SYNC", "UTMALDG", "LDGSTS", "MUFU", "FMNMX", "WARPGROUP.DEPBAR", "SYNCS")


def kiln_cubin(options, kernel, constants, warps, stages):
    path = os.path.join(options.examples, FILES.get(kernel, f"{kernel}/{kernel}.kiln"))
    line = [options.kiln, "build", path, "-k", kernel, "--target", "sm_90a", "--emit", "ptx", "-q", "--type", "T=bf16"]
    for name, value in constants.items():
        line += ["--const", f"{name}={str(bool(value)).lower() if name == 'CAUSAL' else value}"]
    for name, value in DIMS[kernel].items():
        line += ["--dim", f"{name}={value}"]
    line += ["--schedule", f"warps={warps}", "--schedule", f"stages={stages}"]
    ptx = subprocess.run(line, capture_output=True, text=True)
    if ptx.returncode:
        raise RuntimeError(ptx.stderr.strip().splitlines()[0])
    return assemble(options, ptx.stdout)


def assemble(options, ptx):
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = os.path.join(folder, "kernel.ptx"), os.path.join(folder, "kernel.cubin")
        with open(source, "w") as file:
            file.write(ptx)
        done = subprocess.run([os.path.join(options.tools, "ptxas"), "-arch=sm_90a", source, "-o", cubin], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[0])
        with open(cubin, "rb") as file:
            return file.read()


def triton_cubin(options, kernel, constants, warps, stages):
    import triton
    from triton.backends.compiler import GPUTarget

    import triton_compile

    made = triton_compile.source(kernel + "_tma", "bf16", constants)
    compiled = triton.compile(made, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": stages})
    return compiled.asm["cubin"]


def tile_cubin(options, kernel, constants, warps, stages):
    import cuda.tile as ct
    from cuda.tile.compilation import ArrayConstraint, CallingConvention, ConstantConstraint, KernelSignature, ScalarConstraint, export_kernel

    import cutile_kernels

    rank = 2 if kernel == "matmul" else 4
    array = ArrayConstraint(
        ct.bfloat16,
        rank,
        index_dtype=ct.int32,
        stride_lower_bound_incl=0,
        alias_groups=(),
        may_alias_internally=False,
        stride_constant=[None] * (rank - 1) + [1],
        stride_divisible_by=[16] * (rank - 1) + [1],
        shape_divisible_by=16 if kernel == "matmul" else [1, 1, 16, 16],
        base_addr_divisible_by=16,
    )
    given = [ConstantConstraint(value) for value in constants.values()]
    if kernel == "matmul":
        parameters = [array] * 3 + given
    else:
        parameters = [array] * 4 + [ScalarConstraint(ct.float32), ScalarConstraint(ct.int32)] + given
    signature = KernelSignature(parameters, CallingConvention.cutile_python_v1())
    out = io.BytesIO()
    export_kernel(getattr(cutile_kernels, kernel), [signature], Kept(out), gpu_code="sm_90", output_format="cubin")
    return out.getvalue()


class Kept:
    """A file that keeps what was written when it is closed."""

    def __init__(self, out):
        self.write = out.write

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def instructions(options, cubin):
    """SASS lines and what ptxas or its like says of registers and local memory."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = os.path.join(options.tools, "nvdisasm")
        done = subprocess.run([tool, file.name], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
    return [line.strip() for line in done.stdout.splitlines()]


def is_instruction(line):
    return line.startswith("/*") and line.endswith(";")


def steady_loop(lines):
    """The loop with the fewest other instructions for an HGMMA, of those with at least four. A trip takes every branch forward within the loop: what those leave
    out are parts that few trips need, such as masks of edges."""
    labels = {line[:-1]: number for number, line in enumerate(lines) if re.fullmatch(r"\.L_x_\d+:", line)}

    def target(line):
        found = re.search(r"BRA.*`\((\.L_x_\d+)\)", line)
        return labels.get(found[1]) if found else None

    best = None
    for end, line in enumerate(lines):
        start = target(line)
        if start is None or start >= end:
            continue
        body, at = [], start
        while at <= end:
            if is_instruction(lines[at]):
                body.append(lines[at])
            to = target(lines[at])
            at = to if to is not None and at < to <= end else at + 1
        products = sum("HGMMA" in inner for inner in body)
        if products >= 4 and (best is None or len(body) / products < len(best[1]) / best[0]):
            best = (products, body)
    return best


def row(options, compile_, work):
    label, kernel, constants, warps, stages = work
    try:
        lines = instructions(options, compile_(options, kernel, constants, warps, stages))
    except Exception as error:  # noqa: BLE001: whatever a compiler throws is its result
        return f"fails: {str(error).splitlines()[0][:90]}"
    found = steady_loop(lines)
    whole = [line for line in lines if is_instruction(line)]
    local = sum(" STL" in line or " LDL" in line for line in whole)
    if found is None:
        return f"no loop with HGMMA; {len(whole)} instructions"
    products, body = found
    counts = collections.Counter(name for line in body for name in SHOWN if name in line)
    shown = " | ".join(str(counts[name]) for name in SHOWN)
    return f"{products} | {len(body) - products} | {(len(body) - products) / products:.1f} | {shown} | {local} | {len(whole)}"


def main():
    parser = argparse.ArgumentParser()
    for name in ("kiln", "examples", "tools"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--out")
    options = parser.parse_args()
    import importlib.metadata as metadata

    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("triton", "cuda-tile", "nvidia-cuda-tileiras"))
    compilers = [("Kiln", kiln_cubin), ("Triton", triton_cubin), ("cuTile", tile_cubin)]
    text = ["| kernel | compiler | HGMMA | others | others per HGMMA | " + " | ".join(SHOWN) + " | LDL/STL in all | instructions in all |"]
    text.append("|---|---|" + "--:|" * (5 + len(SHOWN)))
    for work in WORKS:
        for name, compile_ in compilers[: 2 if work[1] in FILES else 3]:
            figures = row(options, compile_, work)
            text.append(f"| {work[0]} | {name} | {figures} |")
            print(text[-1], file=sys.stderr, flush=True)
    head = f"Made {datetime.date.today()} with {versions}.\n\n"
    result = head + "\n".join(text) + "\n"
    if options.out:
        with open(options.out, "w") as file:
            file.write(result)
    else:
        print(result)


if __name__ == "__main__":
    main()
