"""The gain of concurrent and batched inference: `python -m tests.bench.bench_inference [--envs FOLDER]`.

`api` with 16 concurrent requests is compared with one at a time, for a server that answers in 20 ms; `huggingface` in
batches of 16 with one prompt at a time, for the model of configs/auto_prompt_optimization, which has 0.1 million random
weights. Each pair runs in one warm process; the second run of each is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.figures import print_figure
from tests.components.conftest import ComponentProcess
from tests.components.inference.ugly_server import Asked, Reply, echo, serving
from tests.local_server import make_model

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 400
LATENCY = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", default="", help="a folder of envs, to reuse those built before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as name:
        folder = Path(name)
        envs = Path(options.envs) if options.envs else folder / "envs"
        envs.mkdir(parents=True, exist_ok=True)
        data = folder / "data.jsonl"
        data.write_text("".join(json.dumps({"query": f"q{n} {'x' * (n % 40)}"}) + "\n" for n in range(SAMPLES)))
        measure_api(python_of("api", envs), data)
        python = python_of("transformers", envs)
        measure_huggingface(python, make_model(python, folder / "model"), data)


def measure_api(python: Path, data: Path) -> None:
    def behave(asked: Asked) -> Reply:
        time.sleep(LATENCY)
        return echo(asked)

    process = ComponentProcess(python, "components.inference.api:ApiInferExecutor", data.parent)
    with serving(behave) as server:
        config = {"type": "api", "model": "tiny", "api_endpoint": server.url}
        single = rate(process, config | {"max_concurrency": 1}, data)
        many = rate(process, config | {"max_concurrency": 16}, data)
    process.close()
    print_figure("api, one request at a time", f"{single:.0f} /s", f"upper bound: {1 / LATENCY:.0f} /s")
    print_figure("api, 16 concurrent requests", f"{many:.0f} /s", f"{many / single:.1f} times as fast")


def measure_huggingface(python: Path, model: Path, data: Path) -> None:
    process = ComponentProcess(python, "components.inference.huggingface:HuggingFaceInferExecutor", data.parent)
    config = {"type": "huggingface", "model": str(model), "sampling_params": {"max_new_tokens": 16}}
    single = rate(process, config | {"batch_size": 1}, data)
    batched = rate(process, config | {"batch_size": 16}, data)
    process.close()
    print_figure("huggingface, one prompt at a time", f"{single:.0f} /s")
    print_figure("huggingface, batches of 16", f"{batched:.0f} /s", f"{batched / single:.1f} times as fast")


def rate(process: ComponentProcess, config: dict[str, Any], data: Path) -> float:
    """Samples a second of a warm run."""
    config = {**config, "dataset_path": str(data), "export_path": str(data.parent / "out")}
    for _ in range(2):
        started = time.monotonic()
        ran = process.run(config, config["type"])
        assert ran.error is None, ran.error + ran.log
    return SAMPLES / (time.monotonic() - started)


def python_of(env: str, envs: Path) -> Path:
    environ = dict(os.environ)
    environ.setdefault("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", ""))
    command = [sys.executable, "-m", "envs.build_command", "--root", str(envs), "--spec", env]
    built = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, check=True)
    return Path(json.loads(built.stdout.splitlines()[-1])["python"])


if __name__ == "__main__":
    main()
