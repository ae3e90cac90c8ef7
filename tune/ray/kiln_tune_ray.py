#!/usr/bin/env python3
"""Runs the shards of a `kiln tune` sweep on a Ray cluster and puts their records together.

    kiln_tune_ray.py --shards 8 --out matmul.tune.jsonl -- matmul.kiln --sizes 1024 --strategy exhaustive

What stands behind `--` goes to `kiln tune` as it is. Every shard is a Ray task that may run on any machine of the cluster which has the kernel
file at the same path, and `kiln` on its search path (or named by --kiln). A task whose worker or machine dies, or whose sweep fails, runs again, up to --retries
times. With --work on a file system that all machines share, a shard that runs again goes on where it was; without it, it begins anew. The records of all
shards, each configuration once, go to --out, and to a remote store where --store names one (`kiln tune push`).

`pip install ray` is all it takes. RAY_ADDRESS names a cluster; without it a local one is started, with --workers processors.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def die_with_parent():
    """A sweep must not outlive the worker that started it: the shard will run elsewhere."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def run_shard(kiln, args, number, shards, work):
    """Runs one shard and gives back the text of its records."""
    scratch = None
    if work is None:
        scratch = tempfile.TemporaryDirectory(prefix="kiln-shard-")
        store = Path(scratch.name)
    else:
        store = Path(work) / f"shard-{number}"
    store.mkdir(parents=True, exist_ok=True)
    # One line for every attempt: which process, where.
    with open(store / "attempts.txt", "a") as attempts:
        attempts.write(f"{os.getpid()} {os.uname().nodename}\n")
    command = [kiln, "tune", *args, "--shard", f"{number}/{shards}", "--store", str(store), "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    if done.returncode != 0:
        raise RuntimeError(f"shard {number}/{shards}: `{' '.join(command)}` ended with {done.returncode}\n{done.stderr}")
    text = "".join(file.read_text() for file in sorted(store.glob("*.jsonl")))
    if scratch is not None:
        scratch.cleanup()
    return number, text


def parse(argv):
    at = argv.index("--") if "--" in argv else len(argv)
    own, rest = argv[:at], argv[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, required=True, help="parts of the space; a few for every worker even out their ends")
    parser.add_argument("--out", required=True, help="file for the records of all shards")
    parser.add_argument("--kiln", default="kiln", help="the kiln command on the workers")
    parser.add_argument("--work", help="directory that all workers share, for shards to go on where they were")
    parser.add_argument("--workers", type=int, default=None, help="processors of the local cluster, where RAY_ADDRESS names none")
    parser.add_argument("--cpus", type=float, default=1, help="processors a shard takes")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs a shard takes")
    parser.add_argument("--retries", type=int, default=3, help="how often a shard may run again")
    parser.add_argument("--store", help="URL of a remote store that the records go to as well")
    options = parser.parse_args(own)
    if not rest:
        parser.error("the arguments of `kiln tune` are missing: put them behind `--`")
    if options.shards < 1:
        parser.error("--shards is a number from 1")
    return options, rest


def main(argv):
    options, args = parse(argv)
    import ray

    address = os.environ.get("RAY_ADDRESS")
    local = {} if address else {"num_cpus": options.workers, "include_dashboard": False}
    ray.init(address=address, logging_level="ERROR", log_to_driver=False, **local)
    task = ray.remote(num_cpus=options.cpus, num_gpus=options.gpus, max_retries=options.retries, retry_exceptions=True)(run_shard)
    start = time.time()
    pending = [task.remote(options.kiln, args, number, options.shards, options.work) for number in range(1, options.shards + 1)]
    with tempfile.TemporaryDirectory(prefix="kiln-merge-") as parts:
        while pending:
            ready, pending = ray.wait(pending, num_returns=1)
            number, text = ray.get(ready[0])
            (Path(parts) / f"{number}.jsonl").write_text(text)
            done = options.shards - len(pending)
            left = (time.time() - start) / done * len(pending)
            print(f"shard {number} is done: {done} of {options.shards}, about {left:.0f} s left", flush=True)
        ray.shutdown()
        subprocess.run([options.kiln, "tune", "merge", parts, "-o", options.out], check=True)
        if options.store:
            subprocess.run([options.kiln, "tune", "push", options.out, "--remote", options.store], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
