"""Runs everything that Kiln can show on a GPU, and writes one report: report.json and report.md.

usage: python3 run.py [--out DIR] [--minutes M] [--only STEP,..] [--quick]

Lies beside `bundle.tar.xz`, which it unpacks. Needs Python and NVIDIA's driver; torch and Triton are compared with where they are installed; cuTile's kernels
are in the bundle as machine code. Steps: devices, tests (the runtime's own
tests, faults, then the language cases and the conformance table), launch (overhead of a launch), examples (speed), peers. Each has a limit, and what ran until then is in the report. The
exit code is 1 where a test failed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tarfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def unpack(to):
    if os.path.isdir(os.path.join(to, "bin")):
        return
    with tarfile.open(os.path.join(HERE, "bundle.tar.xz")) as archive:
        archive.extractall(to, filter="data")


class Runner:
    def __init__(self, root, out):
        self.root, self.out = root, out
        self.env = dict(os.environ)
        self.env.update(
            KILN_TESTS=os.path.join(root, "tests"),
            KILN_EXAMPLES=os.path.join(root, "dsl-examples"),
            KILN_CACHE_DIR=os.path.join(root, "cache"),
        )
        os.makedirs(self.env["KILN_CACHE_DIR"], mode=0o700, exist_ok=True)
        self.loader = self.find_loader()

    def find_loader(self):
        """The programs as they are, if this system starts them; else by the C library that was packed with them."""
        kiln = os.path.join(self.root, "bin", "kiln")
        try:
            if subprocess.run([kiln, "--version"], capture_output=True, timeout=60).returncode == 0:
                return []
        except OSError:
            pass
        library = os.path.join(self.root, "lib")
        return [os.path.join(library, "ld-linux-x86-64.so.2"), "--library-path", library + ":" + self.env.get("LD_LIBRARY_PATH", "")]

    def program(self, name):
        return self.loader + [os.path.join(self.root, "bin", name)]

    def run(self, line, limit, log):
        """Exit code (None past the limit), seconds, and output."""
        begun = time.monotonic()
        with open(os.path.join(self.out, log), "w") as file:
            process = subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT, env=self.env, cwd=self.root)
            try:
                code = process.wait(timeout=max(limit, 1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = None
        with open(os.path.join(self.out, log), errors="replace") as file:
            text = file.read()
        return code, time.monotonic() - begun, text


def json_lines(text):
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
    return found


def devices(runner, limit, quick):
    code, seconds, text = runner.run(runner.program("kiln") + ["devices"], min(limit, 60), "devices.log")
    return {"ok": code == 0 and "cuda:0" in text, "seconds": seconds, "text": text}


def tests(runner, limit, quick):
    """In groups, the most telling first; each its own process, as a fault ends a process's use of the GPU."""
    groups = {}
    for filter_, share in [("runtime::", 0.2), ("scenarios::", 0.3),
                           ("language-cases::", 0.6), ("conformance::", 1.0)]:
        begun = time.monotonic()
        # The program writes its verdicts at its end: it has to come there.
        runner.env["KILN_GPU_SECONDS"] = str(0.85 * limit * share)
        code, seconds, text = runner.run(runner.program("gpu-tests") + [filter_], limit * share, "tests-" + filter_.strip(":") + ".log")
        limit -= time.monotonic() - begun
        verdicts = [line.split(" ... ") for line in text.splitlines() if line.startswith("test ") and " ... " in line]
        passed = sum(1 for v in verdicts if v[1].startswith("ok"))
        late = text.count("not run: the time is up")
        failed = [v[0][5:].strip() for v in verdicts if v[1].startswith("FAILED")]
        groups[filter_] = {"code": code, "seconds": seconds, "passed": passed, "failed": failed, "not_run": late, "end": text[-3000:] if code != 0 else ""}
    ok = all(g["code"] == 0 and g["passed"] > 0 for g in groups.values())
    return {"ok": ok, "groups": groups}


def launch(runner, limit, quick):
    code, seconds, text = runner.run(runner.program("gpu-launch") + ["--json"] + (["--quick"] if quick else []), min(limit, 120), "launch.log")
    rows = json_lines(text)
    return {"ok": code == 0 and bool(rows), "seconds": seconds, "rows": rows, "end": "" if code == 0 else text[-2000:]}


EXAMPLES = ["vector_add", "softmax", "layer_norm", "rms_norm", "cross_entropy", "dropout", "histogram", "prefix_sum", "matmul", "attention"]


def examples(runner, limit, quick):
    """Each checks its results against references at many sizes."""
    rows, end_at = {}, time.monotonic() + limit
    for name in EXAMPLES:
        runner.env["KILN_EXAMPLE"] = name
        line = runner.program("all-examples") + ["--device", "cuda"] + ([] if quick else ["--large"])
        code, seconds, text = runner.run(line, end_at - time.monotonic(), f"example-{name}.log")
        rows[name] = {"ok": code == 0, "seconds": seconds, "text": text[-3000:]}
    return {"ok": all(row["ok"] for row in rows.values()), "rows": rows}


def peers(runner, limit, quick):
    kiln = os.path.join(runner.out, "kiln.sh")
    with open(kiln, "w") as file:
        file.write("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in runner.program("kiln")) + ' "$@"\n')
    os.chmod(kiln, 0o755)
    result = os.path.join(runner.out, "peers.json")
    line = [sys.executable, os.path.join(runner.root, "peers", "gpu", "main.py"), "--kiln", kiln, "--examples", runner.env["KILN_EXAMPLES"], "--out", result]
    line += ["--deadline", str(0.85 * limit)] + (["--quick", "--seconds", "0.05"] if quick else [])
    code, seconds, text = runner.run(line, limit, "peers.log")
    try:
        with open(result) as file:
            found = json.load(file)
    except (OSError, ValueError):
        found = None
    wrong = [r["work"] for r in found["rows"] if r["results"]["kiln"].get("right") is False] if found else []
    return {"ok": code == 0 and found is not None and not wrong, "code": code, "seconds": seconds, "report": found, "wrong": wrong, "end": "" if code == 0 else text[-3000:]}


STEPS = {"devices": (devices, 0.05), "launch": (launch, 0.1), "examples": (examples, 0.2), "peers": (peers, 0.6), "tests": (tests, 1.0)}


def speed(row, result):
    seconds = result["median_seconds"]
    return f"{row['flops'] / seconds / 1e12:.1f} TFLOP/s" if row["flops"] else f"{row['bytes'] / seconds / 1e9:.0f} GB/s"


def cell(row, name):
    result = row["results"].get(name)
    if result is None:
        return ""
    if "median_seconds" not in result:
        return "absent" if "absent" in result else "**failed**"
    error = result.get("error")
    mark = "" if result.get("right", True) else " **wrong**"
    return f"{result['median_seconds'] * 1e6:.1f} us, {speed(row, result)}" + (f", error {error:.1e}" if error is not None else "") + mark


def markdown(report):
    lines = ["# Kiln on a GPU", "", f"{report['date']}, {report['machine']}", "", "```", report["steps"].get("devices", {}).get("text", "").rstrip(), "```", ""]
    tested = report["steps"].get("tests")
    if tested:
        lines += ["## Tests", "", "| group | passed | failed | of these not run | time |", "|---|---|---|---|---|"]
        for name, group in tested["groups"].items():
            failed = ", ".join(group["failed"][:10]) or ("none" if group["code"] == 0 else f"ended with {group['code']}")
            lines.append(f"| {name} | {group['passed']} | {len(group['failed'])}: {failed} | {group['not_run']} | {group['seconds']:.0f} s |")
        lines.append("")
    shown = report["steps"].get("examples")
    if shown:
        lines += ["## Examples", ""]
        for name, row in shown["rows"].items():
            lines += [f"{name}: {'right' if row['ok'] else '**wrong or stopped**'}", "", "```", row["text"].rstrip(), "```", ""]
    launched = report["steps"].get("launch")
    if launched:
        lines += ["## What a launch costs", "", "| launch | median | least |", "|---|---|---|"]
        lines += [f"| {r['name']} | {r['median_microseconds']:.2f} us | {r['least_microseconds']:.2f} us |" for r in launched["rows"]] + [""]
    compared = (report["steps"].get("peers") or {}).get("report")
    if compared:
        lines += ["## Speed", "", f"torch {compared['torch']}, Triton {compared['triton']}, cuTile {compared['cuda.tile']}, {compared['gpu']}; Kiln's kernels tuned for each size; medians by events, second-level cache cold, random data.", ""]
        if "ceilings" in compared:
            c = compared["ceilings"]
            lines += [f"Measured ceilings: copy {c['copy_terabytes_per_second']:.2f} TB/s, bf16 product {c['bf16_teraflops']:.0f} TFLOP/s.", ""]
        lines += ["| work | size | type | Kiln | cuBLAS, cuDNN or torch | others | Kiln's time / best peer's |", "|---|---|---|---|---|---|---|"]
        for row in compared["rows"]:
            others = [r["median_seconds"] for name, r in row["results"].items() if name != "kiln" and "median_seconds" in r]
            mine = row["results"]["kiln"].get("median_seconds")
            ratio = f"{mine / min(others):.2f}" if mine and others else ""
            base = next((name for name in ("cublas", "cudnn", "torch") if name in row["results"]), "")
            rest = "; ".join(f"{name} {cell(row, name)}" for name in row["results"] if name not in ("kiln", base))
            lines.append(f"| {row['work']} | {' x '.join(map(str, row['size']))} | {row['type']} | {cell(row, 'kiln')} | {base} {cell(row, base)} | {rest} | {ratio} |")
        if compared["left_out"]:
            lines += ["", f"Left out for want of time: {compared['left_out']}"]
    return "\n".join(lines) + "\n"


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", default=os.path.join(HERE, "out"))
    options.add_argument("--root", default=os.path.join(HERE, "unpacked"))
    options.add_argument("--minutes", type=float, default=9.0, help="for everything together")
    options.add_argument("--only", default="")
    options.add_argument("--quick", action="store_true", help="small sizes: whether everything works")
    options = options.parse_args()
    begun = time.monotonic()
    os.makedirs(options.out, exist_ok=True)
    unpack(options.root)
    runner = Runner(options.root, options.out)
    wanted = [s for s in options.only.split(",") if s] or list(STEPS)
    report = {"date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": f"{platform.platform()}, {os.cpu_count()} processors", "steps": {}}
    for name in wanted:
        step, share = STEPS[name]
        left = 60 * options.minutes - (time.monotonic() - begun)
        print(f"==> {name} ({left:.0f} s left)", flush=True)
        report["steps"][name] = step(runner, left * share, options.quick)
        print(f"    {'ok' if report['steps'][name]['ok'] else 'NOT OK'}", flush=True)
        with open(os.path.join(options.out, "report.json"), "w") as file:
            json.dump(report, file, indent=1)
        with open(os.path.join(options.out, "report.md"), "w") as file:
            file.write(markdown(report))
    print(markdown(report))
    return 0 if all(step["ok"] for step in report["steps"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
