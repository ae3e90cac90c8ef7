#!/usr/bin/env python3
"""onnxruntime's time for the sentences: `python3 peer.py MODEL THREADS REPEAT`. Run by main.rs, which measures Kiln in turn with it.

Prints a line with the versions, then for every line read one with the seconds that all sentences (REPEAT times over) took, without their tokenizing, and the batch
size. Sentences are sorted by length, so that a batch needs little padding; a first run of several batch sizes chooses the one that is kept.
"""
import pathlib
import sys
import time

import graph

model, threads, repeat = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
run = graph.session(graph.weights(model), threads)
tokens = sorted((t.ids for t in graph.tokenizer(model).encode_batch(graph.sentences() * repeat)), key=len)


def seconds(size):
    batches = [graph.padded(tokens[i : i + size]) for i in range(0, len(tokens), size)]
    start = time.perf_counter()
    for ids, mask in batches:
        run(ids, mask)
    return time.perf_counter() - start


seconds(32)
best = min((4, 8, 16, 32, 64), key=seconds)
print(graph.versions(), flush=True)
for _ in sys.stdin:
    print(seconds(best), best, flush=True)
