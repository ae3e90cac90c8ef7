"""Time on a GPU, and distance of results: the same for every peer."""

import math
import time

import torch


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


def relative_error(found, reference):
    """|found - reference| / |reference| by Frobenius norms, the largest of all outputs; NaN where one has NaN."""
    worst = 0.0
    for name, wanted in reference.items():
        out, wanted = found[name].float(), wanted.float()
        error = float(torch.linalg.vector_norm(out - wanted) / torch.linalg.vector_norm(wanted))
        if math.isnan(error):
            return error
        worst = max(worst, error)
    return worst


def ceilings(seconds):
    """What the machine can do, measured by torch: a large copy, and a large product."""
    x = torch.randn(1 << 30, device="cuda", dtype=torch.float32).view(torch.uint8)
    y = torch.empty_like(x)
    copy = 2 * x.numel() / median(event_times(lambda: y.copy_(x), seconds)) / 1e12
    a, b = (torch.randn(8192, 8192, device="cuda").bfloat16() for _ in range(2))
    product = 2 * 8192**3 / median(event_times(lambda: torch.matmul(a, b), seconds)) / 1e12
    return {"copy_terabytes_per_second": copy, "bf16_teraflops": product}
