#!/usr/bin/env python3
"""Times of numpy for the work of tuning.kiln, as `kiln tune --peers` reads them: medians, with second-level caches cold, as the tuner measures.

    OPENBLAS_NUM_THREADS=2 python3 peers.py matmul 'M=256,N=256,K=256;M=512,N=512,K=512' > peers.json
    OPENBLAS_NUM_THREADS=2 python3 peers.py softmax 'M=512,N=1024;M=512,N=4096' > peers.json
"""

import json
import sys
import time

import numpy as np


def matmul(dims):
    a = np.random.default_rng(0).standard_normal((dims["M"], dims["K"]), dtype=np.float32)
    b = np.random.default_rng(1).standard_normal((dims["K"], dims["N"]), dtype=np.float32)
    c = np.empty((dims["M"], dims["N"]), dtype=np.float32)
    return lambda: np.matmul(a, b, out=c)


def softmax(dims):
    x = np.random.default_rng(0).standard_normal((dims["M"], dims["N"]), dtype=np.float32)
    y = np.empty_like(x)

    def run():
        np.subtract(x, x.max(axis=1, keepdims=True), out=y)
        np.exp(y, out=y)
        np.divide(y, y.sum(axis=1, keepdims=True), out=y)

    return run


def median(run, samples=31):
    flush = np.zeros(1 << 20, dtype=np.float32)
    times = []
    for _ in range(samples + 3):
        flush += 1.0
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return sorted(times[3:])[samples // 2]


def main():
    kernel, sizes = sys.argv[1], sys.argv[2]
    work = {"matmul": matmul, "softmax": softmax}[kernel]
    found = []
    for size in sizes.split(";"):
        dims = {name: int(value) for name, value in (part.split("=") for part in size.split(","))}
        found.append({"name": "numpy " + np.__version__, "dims": dims, "seconds": median(work(dims))})
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
