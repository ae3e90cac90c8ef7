"""Kiln against cuBLAS, cuDNN and FlashAttention (by torch), Triton and cuTile on one GPU, in one run: the same work on the same random data, medians by CUDA events with a cold
second-level cache.

usage: main.py --kiln PATH --examples DIR --out FILE.json [--seconds S] [--deadline S] [--untuned] [--quick]

Each row is one piece of work at one size. Peers run in this process, Kiln's side is `kiln tune` and `kiln bench` (events, caches flushed) on random data of the same distribution; its
results are checked apart from the clock: `kiln run` on tensors that torch made, against torch in float32, by |out - ref| / |ref| (Frobenius norms), with the result poisoned
before. What is missing (torch, Triton, cuTile, a GPU) is reported as absent, never guessed. Nothing here changes the GPU's settings.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

import cutile_carried
from by_kiln import Kiln
from work import all_work

try:
    import torch

    import clock
except ImportError:
    torch = None

# Largest |out - ref| / |ref| of a right result: operands and results of so many bits, sums in f32. Gradients are sums of products that were rounded twice.
ALLOWED = {"bf16": 1e-2, "f16": 2e-3, "f32": 1e-5, "f8": 1e-2}
# A check writes tensors to files: beyond so many bytes it is left out, and the row says so.
CHECKED_BYTES = 600e6


def has_gpu():
    return torch is not None and torch.cuda.is_available()


def version(module):
    try:
        return __import__(module, fromlist=["__version__"]).__version__
    except (ImportError, AttributeError):
        return None


def measure_peer(make, seconds, reference, inputs):
    run, results = make(inputs)
    run()
    torch.cuda.synchronize()
    error = clock.relative_error(results(), reference)
    return {"median_seconds": clock.median(clock.event_times(run, seconds)), "error": error}


def measure(work, kiln, seconds):
    row = {"work": work.name, "size": list(work.size), "type": work.ty, "bytes": work.bytes(), "flops": work.flops, "results": {}}
    inputs = reference = None
    if has_gpu():
        inputs = work.make_inputs()
        reference = work.reference(inputs)
    for name, make in work.peers.items():
        if not has_gpu():
            row["results"][name] = {"absent": "torch with a GPU is not installed"}
            continue
        try:
            row["results"][name] = measure_peer(make, seconds, reference, inputs)
        except ImportError as error:
            row["results"][name] = {"absent": str(error)}
        except Exception as error:  # a peer that fails is a fact of the report
            row["results"][name] = {"failed": str(error)[-500:]}
    try:
        mine, schedules = kiln.bench(work, seconds)
        if inputs is None or work.bytes() > CHECKED_BYTES:
            mine["error"] = None
        else:
            with tempfile.TemporaryDirectory() as folder:
                mine["error"] = clock.relative_error(kiln.check(work, schedules, inputs, folder), reference)
            mine["right"] = mine["error"] <= ALLOWED[work.ty]
    except (RuntimeError, subprocess.TimeoutExpired, OSError, IndexError) as error:
        mine = {"failed": str(error)[-1500:]}
    row["results"]["kiln"] = mine
    return row


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kiln", required=True)
    options.add_argument("--examples", required=True)
    options.add_argument("--out", required=True)
    options.add_argument("--seconds", type=float, default=0.3)
    options.add_argument("--untuned", action="store_true", help="Kiln's kernels by their defaults")
    options.add_argument("--quick", action="store_true", help="small sizes: whether everything works, not how fast it is")
    options.add_argument("--deadline", type=float, default=math.inf, help="no new work after this many seconds")
    options = options.parse_args()
    begun = time.perf_counter()
    carried = cutile_carried.install(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cutile"))
    report = {"cutile_cubins": "made beforehand" if carried else None}
    report |= {name: version(name) for name in ("torch", "triton", "cuda.tile")}
    report |= {"rows": [], "left_out": [], "gpu": torch.cuda.get_device_name(0) if has_gpu() else None}
    if has_gpu() and not options.quick:
        report["ceilings"] = clock.ceilings(options.seconds)
    kiln = Kiln(options.kiln, options.examples, tuning=not options.untuned)
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
