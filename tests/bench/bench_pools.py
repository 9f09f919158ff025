"""Data pools: `python -m tests.bench.bench_pools [--samples N]`. Each figure is printed with its goal.

The pool has 200,000 samples of about 500 bytes with three statistics. Each job runs in its own process. Printed are the
seconds of `run`, its CPU time (less, on a busy machine), and the peak memory of the process, including the interpreter
and libraries. `--samples 10000000` is a pool of 5 GB, which needs ten times that on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from envs.builder import build
from envs.env_folder import default_root
from envs.specs import load_spec

ROOT = Path(__file__).resolve().parents[2]

SAMPLES = 200_000
PEER = {"construct": 14.8, "combine": 17.7, "merge": 4.6}
"""Seconds that Data-Juicer Sandbox takes for 200,000 samples on a similar machine, with 1,400 MB of memory."""

CHILD = """
import importlib, json, resource, sys, time
module, name = sys.argv[1].split(":")
kind = getattr(importlib.import_module("components.pools." + module), name)
import numpy
started, busy = time.perf_counter(), time.process_time()
result = kind(json.loads(sys.argv[2])).run()
seconds, busy = time.perf_counter() - started, time.process_time() - busy
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"result": result, "seconds": seconds, "busy": busy, "bytes": most}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--python", help="of an env with numpy, zstandard and pyarrow (default: the env `pools`)")
    parser.add_argument("--folder", help="where the pools are written (default: the temporary folder)")
    options = parser.parse_args()
    python = options.python or str(build(load_spec("pools"), default_root()).python)
    with tempfile.TemporaryDirectory(prefix="pools-", dir=options.folder) as folder:
        measure(python, Path(folder), options.samples)


def measure(python: str, folder: Path, samples: int) -> None:
    pool = folder / "pool.jsonl"
    write(pool, samples)
    scale = samples / SAMPLES
    limit = 200e6 + (32 * samples if samples > SAMPLES else 0)
    print(f"{samples:,} samples, {pool.stat().st_size / 1e6:,.0f} MB; memory goal: at most {limit / 1e6:,.0f} MB")
    copied = min(copy(pool, folder / "copy.jsonl") for _ in range(3))
    print_seconds("cp", copied, "for comparison with merge and downsample")
    jobs: dict[str, tuple[str, dict[str, Any], float]] = {
        "merge": ("merging:DataPoolMerging", {}, 2 * copied),
        "downsample": ("downsampling:DataPoolDownsampling", {"target_num_samples": samples // 2}, 2 * copied),
        "construct": ("construction:DataPoolConstruction", {}, PEER["construct"] * scale / 10),
        "combine": ("combination:DataPoolCombination", {}, PEER["combine"] * scale / 10),
    }
    inputs: Any = str(pool)
    for name, (target, config, goal) in jobs.items():
        job_config = {"dataset_path": inputs, "export_path": str(folder / name), **config}
        best = min(
            (run(python, target, job_config) for _ in range(3 if scale == 1 else 1)), key=lambda ran: ran["seconds"]
        )
        extrapolated = f" (measured with {SAMPLES:,}, times {scale:g})" if scale != 1 else ""
        peer = f", Data-Juicer Sandbox {PEER[name] * scale:.1f}{extrapolated}" if name in PEER else ""
        met = "met" if best["seconds"] <= goal else "MISSED"
        memory = "met" if best["bytes"] <= limit else "MISSED"
        print_seconds(
            name,
            best["seconds"],
            f"goal {goal:.2f}: {met}{peer}; {best['bytes'] / 1e6:.0f} MB: {memory}; {best['busy']:.2f} s of CPU time",
        )
        if name == "construct":
            inputs = best["result"][2::3]
        else:
            shutil.rmtree(folder / name)


def write(path: Path, samples: int) -> None:
    chance = random.Random(1)
    words = ["alpha", "beta", "gamma", "delta", "data", "pool", "model", "train", "über", "naïve", "the", "of", "and"]
    texts = [" ".join(chance.choices(words, k=70)) for _ in range(1000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(samples):
            text = texts[number % 1000]
            stats = {"text_len": len(text), "alnum_ratio": chance.random(), "char_rep_ratio": chance.random()}
            sample = {"text": text, "meta": {"id": number, "source": "generated"}, "__dj__stats__": stats}
            file.write(json.dumps(sample, ensure_ascii=False) + "\n")


def copy(source: Path, target: Path) -> float:
    started = time.perf_counter()
    subprocess.run(["cp", str(source), str(target)], check=True)
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


def run(python: str, target: str, config: dict[str, Any]) -> Any:
    command = [python, "-c", CHILD, target, json.dumps(config)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ran.stdout.splitlines()[-1])


def print_seconds(what: str, seconds: float, note: str) -> None:
    print(f"{what:<12} {seconds:8.2f} s   {note}", flush=True)


if __name__ == "__main__":
    main()
