"""Kiln's side: `kiln tune`, `kiln bench` and `kiln run` as a user would call them, on data of the same distribution; results are checked apart from the clock."""

import json
import os
import subprocess

KILN_TYPES = {"bf16": "bf16", "f16": "f16", "f32": "f32", "f8": "f8e4m3"}


class Kiln:
    def __init__(self, path, examples, tuning):
        """`tuning`: whether each kernel is tuned for its size before it is measured."""
        self.path, self.examples, self.tuning = path, examples, tuning

    def command(self, verb, step, args, schedule):
        folder, file, kernel = step.kernel
        line = [self.path, verb, os.path.join(self.examples, folder, file + ".kiln"), "--kernel", kernel, "--device", "cuda"]
        for name, value in step.scalars.items():
            line += ["--arg", f"{name}={value!r}"]
        for name, value in step.consts.items():
            line += ["--const", f"{name}={value}"]
        for name, value in step.types.items():
            line += ["--type", f"{name}={KILN_TYPES[value]}"]
        for name, value in schedule.items():
            line += ["--schedule", f"{name}={value}"]
        for arg in args:
            line += ["--arg", arg]
        return line + ["--message-format", "json"]

    def ask(self, line, limit):
        ran = subprocess.run(line, capture_output=True, text=True, timeout=limit)
        if ran.returncode != 0:
            raise RuntimeError((ran.stdout + ran.stderr)[-2000:])
        return [json.loads(text) for text in ran.stdout.splitlines() if text.startswith("{")]

    def bench(self, work, seconds):
        """The sum of the medians of what the work launches, and for each launch its schedule, which `check` takes."""
        total, configurations, schedules, refused = 0.0, [], [], []
        for step in work.steps:
            args = []
            for name in step.reads:
                dims, ty = work.tensor(name)
                args.append(f"{name}=randn({', '.join(map(str, dims))}):{KILN_TYPES[ty]}")
            best = None
            for schedule in step.schedules:
                try:
                    found = (self.bench_one(step, args, schedule, seconds), schedule)
                except RuntimeError as error:
                    # What a schedule cannot be had for is a fact of the report, unless nothing is left.
                    refused.append([schedule, str(error)[-300:]])
                    continue
                if best is None or found[0]["median_seconds"] < best[0]["median_seconds"]:
                    best = found
            if best is None:
                raise RuntimeError(f"no schedule runs: {refused}")
            total += best[0]["median_seconds"]
            configurations.append((best[0].get("configuration") or {}) | best[1])
            schedules.append(best[1])
        one = len(configurations) == 1
        found = {"median_seconds": total, "configuration": configurations[0] if one else configurations}
        return (found | {"refused": refused} if refused else found), schedules

    def bench_one(self, step, args, schedule, seconds):
        if self.tuning:
            self.ask(self.command("tune", step, args, schedule) + ["--seconds", "0.1"], 300)
        found = self.ask(self.command("bench", step, args, schedule) + ["--seconds", str(seconds)], 120 + 10 * seconds)
        return [r for r in found if "median_seconds" in r][-1]

    def check(self, work, schedules, inputs, folder):
        """Runs the kernels one after the other on torch's tensors, and gives back what they wrote."""
        import torch

        from torch_types import torch_type

        def write(name, tensor, ty, dims):
            path = os.path.join(folder, name + ".bin")
            tensor.contiguous().view(torch.uint8).cpu().numpy().tofile(path)
            return f"{name}=@{path}:{KILN_TYPES[ty]}[{', '.join(map(str, dims))}]"

        made = {name: write(name, tensor, work.tensor(name)[1], work.tensor(name)[0]) for name, tensor in inputs.items()}
        found = {}
        for step, schedule in zip(work.steps, schedules):
            args = [made[name] for name in step.reads]
            line = []
            for name in step.writes:
                dims, ty = work.tensor(name)
                # Poisoned: what the kernel does not write stays NaN.
                poison = torch.full((1,), float("nan"), dtype=torch.float32).to(torch_type(ty)).expand(dims)
                args.append(write(name, poison, ty, dims))
                line += ["--out", f"{name}={os.path.join(folder, name + '.safetensors')}"]
            self.ask(self.command("run", step, args, schedule) + line, 600)
            for name in step.writes:
                dims, ty = work.tensor(name)
                data = read_safetensors(os.path.join(folder, name + ".safetensors"), name)
                found[name] = data.view(torch_type(ty)).reshape(dims).cuda()
                made[name] = write(name, found[name], ty, dims)
        return found


def read_safetensors(path, name):
    """The bytes of one tensor (the format: a length, a JSON header, the data)."""
    import torch

    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begin, end = json.loads(file.read(length))[name]["data_offsets"]
        file.seek(8 + length + begin)
        return torch.frombuffer(bytearray(file.read(end - begin)), dtype=torch.uint8)
