"""CPU peers of Kiln's benches: numpy (OpenBLAS) and jax (XLA), one process a peer and thread count.

usage: cpu.py numpy|jax

Reads one request a line, `WORK ROWS COLS REPEATS`, and answers with one line: the seconds of each repetition, separated by blanks, or `error TEXT`.
WORK is matmul (ROWS x ROWS by ROWS x ROWS, f32), softmax (of rows) or layer_norm (of rows, with weight and bias). The thread count comes from the
environment (OPENBLAS_NUM_THREADS) and the processors that the process may run on.
"""

import sys
import time


def timed(run, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def numpy_work(work, rows, cols):
    import numpy as np

    random = np.random.default_rng(1)
    if work == "matmul":
        a = random.standard_normal((rows, rows), dtype=np.float32)
        b = random.standard_normal((rows, rows), dtype=np.float32)
        c = np.empty_like(a)
        return lambda: np.matmul(a, b, out=c)
    x = random.standard_normal((rows, cols), dtype=np.float32)
    y = np.empty_like(x)
    if work == "softmax":

        def softmax():
            np.subtract(x, x.max(axis=1, keepdims=True), out=y)
            np.exp(y, out=y)
            np.divide(y, y.sum(axis=1, keepdims=True), out=y)

        return softmax
    weight = random.standard_normal(cols, dtype=np.float32)
    bias = random.standard_normal(cols, dtype=np.float32)

    def layer_norm():
        np.subtract(x, x.mean(axis=1, keepdims=True), out=y)
        scale = 1.0 / np.sqrt(np.mean(y * y, axis=1, keepdims=True) + np.float32(1e-5))
        np.multiply(y, scale, out=y)
        np.multiply(y, weight, out=y)
        np.add(y, bias, out=y)

    return layer_norm


def jax_work(work, rows, cols):
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(1), 3)
    if work == "matmul":
        a = jax.random.normal(keys[0], (rows, rows), jnp.float32)
        b = jax.random.normal(keys[1], (rows, rows), jnp.float32)
        product = jax.jit(lambda a, b: a @ b)
        return lambda: product(a, b).block_until_ready()
    x = jax.random.normal(keys[0], (rows, cols), jnp.float32)
    if work == "softmax":
        softmax = jax.jit(lambda x: jax.nn.softmax(x, axis=1))
        return lambda: softmax(x).block_until_ready()
    weight = jax.random.normal(keys[1], (cols,), jnp.float32)
    bias = jax.random.normal(keys[2], (cols,), jnp.float32)

    def norm(x, weight, bias):
        mean = x.mean(axis=1, keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * weight + bias

    norm = jax.jit(norm)
    return lambda: norm(x, weight, bias).block_until_ready()


def main():
    make = {"numpy": numpy_work, "jax": jax_work}[sys.argv[1]]
    made = {}
    for line in sys.stdin:
        work, rows, cols, repeats = line.split()
        try:
            key = (work, int(rows), int(cols))
            if key not in made:
                made[key] = make(*key)
                made[key]()
            print(*timed(made[key], int(repeats)), flush=True)
        except Exception as error:  # the bench reports it and goes on without this peer
            print("error", " ".join(str(error).split()), flush=True)


if __name__ == "__main__":
    main()
