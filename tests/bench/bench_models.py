"""The time that warm actors save when training models: `python -m tests.bench.bench_models [--quick]`.

Time to the first training step, and a workflow of probing, analysing and refining: statistics of the demo's data, nine
pools by three of them, a training and an evaluation on each, the best pools combined in seven ways, a training and an
evaluation on each combination. It runs with warm actors, and with a new process for each job (`keep_alive: 0`).
`--quick` has three pools and one combination.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from sandbox_actors.client.client import Client
from sandbox_actors.protocol.rows import ExperimentDetail
from sandbox_actors.system.paths import find_paths
from tests.bench.figures import print_figure

ROOT = Path(__file__).resolve().parents[2]
STATISTICS = ("text_len", "alnum_ratio", "special_char_ratio")
FILTERS = ("text_length_filter", "alphanumeric_filter", "special_characters_filter")
POOLS = 9
COMBINATIONS = 7
WARM_STARTS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three pools and one combination")
    parser.add_argument("--envs", default="", help="a folder of envs, to reuse those built before")
    options = parser.parse_args()
    count = (3, 1) if options.quick else (POOLS, COMBINATIONS)
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as folder, sandbox(Path(folder), options.envs) as client:
        os.chdir(folder)
        prepare(client)
        measure_first_step(client)
        measure_workflow(client, *count)


@contextmanager
def sandbox(folder: Path, envs: str) -> Iterator[Client]:
    """A daemon with its home in `folder`."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    if envs:
        Path(envs).mkdir(parents=True, exist_ok=True)
        (home / "envs").symlink_to(Path(envs).absolute())
    os.environ.update({"SANDBOX_HOME": str(home), "WANDB_MODE": "disabled"})
    with Client(find_paths(), autostart=True) as client:
        try:
            yield client
        finally:
            client.stop_daemon()


def run(client: Client, name: str, jobs: dict[str, Any], **settings: Any) -> ExperimentDetail:
    """Run an experiment file with these pipelines to its end."""
    pipelines = [{pipeline: lists} for pipeline, lists in jobs.items()]
    document = {"project_name": "bench", "experiment_name": name, "work_dir": f"out/{name}", "pipelines": pipelines}
    Path(f"{name}.json").write_text(json.dumps({**document, **settings}, indent=2))
    id = client.submit(f"{name}.json")
    for _ in client.follow(id, interval=0.05):
        pass
    detail = client.show(id)
    failed = [f"{job.pipeline}.{job.meta_name}: {job.error}" for job in detail.jobs if job.state != "succeeded"]
    if failed:
        sys.exit("\n".join(failed))
    return detail


# --- common to both ---------------------------------------------------------------------------------------------------


def prepare(client: Client) -> None:
    """Create the demo's corpus and tokenizer. This also builds the envs."""
    demo = yaml.safe_load((ROOT / "configs" / "demo" / "sandbox.yaml").read_text(encoding="utf-8"))
    corpus, tokenizer, *_ = demo["pipelines"][0]["baseline"]["execution_job_configs"]
    run(client, "prepare", {"baseline": {"execution_job_configs": [corpus, tokenizer]}})


def training(dataset: str, output: str) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "configs" / "demo" / "train.yaml").read_text(encoding="utf-8"))
    paths = {"tokenizer": "outputs/demo/tokenizer/iter_1", "train_dataset": dataset, "output_dir": output}
    return {**config, **paths}


def corpus(name: str) -> str:
    (found,) = Path("outputs/demo/corpus").rglob(f"{name}*.jsonl")
    return str(found)


# --- the first step ---------------------------------------------------------------------------------------------------


def measure_first_step(client: Client) -> None:
    """The time from the start of a job until the loss of its first step is recorded from its log."""
    seconds = [seconds_to_first_step(client, index) for index in range(1 + WARM_STARTS)]
    cold, warm = seconds[0], statistics.median(seconds[1:])
    print_figure("first training step, cold", f"{cold * 1e3:.0f} ms", "new process, imports, model")
    note = f"cold is {cold / warm:.0f} times as long; new data each time (goal: 200 ms)"
    print_figure("first training step, warm", f"{warm * 1e3:.0f} ms", note)


def seconds_to_first_step(client: Client, index: int) -> float:
    lines = Path(corpus("train")).read_text(encoding="utf-8").splitlines(keepends=True)
    data = Path(f"part_{index}.jsonl")
    data.write_text("".join(lines[index:]), encoding="utf-8")
    config = {**training(str(data), f"models/first_{index}"), "logging_steps": 1, "arguments": {}}
    job = {"hook": "TrainModelHook", "meta_name": "train", "extra_configs": config}
    detail = run(client, f"first-{index}", {"only": {"execution_job_configs": [job]}})
    first = min(row.time for row in client.metrics("@", "loss"))
    return first - (detail.jobs[0].started or 0.0)


# --- the workflow -----------------------------------------------------------------------------------------------------


def measure_workflow(client: Client, pools: int, combinations: int) -> None:
    run_workflow(client, "warm-up", 3, 1)  # builds the envs and starts the actors
    warm, warm_scores = run_workflow(client, "warm", pools, combinations)
    cold, cold_scores = run_workflow(client, "cold", pools, combinations, keep_alive=0)
    trained = pools + combinations
    print_figure(f"workflow, {trained} trainings, {trained} evaluations", f"{warm:.1f} s", "warm actors")
    scores = "the same scores" if cold_scores == warm_scores else "DIFFERENT SCORES"
    note = f"{cold / warm:.1f} times as long (goal: 5), {scores}"
    print_figure("the same, with a cold process for each job", f"{cold:.1f} s", note)


def run_workflow(client: Client, name: str, pools: int, combinations: int, **job: Any) -> tuple[float, list[float]]:
    """The seconds that it took, and the perplexities."""
    pipelines = workflow(name, pools, combinations)
    for lists in pipelines.values():
        for jobs in lists.values():
            for each in jobs:
                each.update(job)
    started = time.perf_counter()
    detail = run(client, name, pipelines, parallel=True)
    seconds = time.perf_counter() - started
    infos = detail.iterations[0].context_infos
    scores = [entry["quality"]["perplexity"] for entries in infos.values() for entry in entries if "quality" in entry]
    return seconds, scores


def workflow(name: str, pools: int, combinations: int) -> dict[str, Any]:
    """Pipelines by name: `probe`, one for each pool, `refine`, one for each combination."""
    kinds = pools // 3
    split = component("PoolsByStatistic", "split", [f"pool_{index}" for index in range(pools)])
    split["input"] = {"extra_configs.dataset_path": "probe.analyse.analysed"}
    split["extra_configs"] |= {"statistics": STATISTICS[:kinds], "export_path": f"{name}/pools"}
    combine = component("BestCombined", "combine", [f"best_{index}" for index in range(combinations)])
    combine["input"] = {
        **{f"extra_configs.pools.{index}": f"probe.split.pool_{index}" for index in range(pools)},
        **{f"extra_configs.scores.{index}": f"pool_{index}.evaluate.quality.perplexity" for index in range(pools)},
    }
    empty = [None] * pools
    combine["extra_configs"] |= {"pools": empty, "scores": empty, "export_path": f"{name}/combined"}
    return {
        "probe": {"probe_job_configs": [analysis(name)], "execution_job_configs": [split]},
        **{f"pool_{i}": trained(name, f"pool_{i}", f"probe.split.pool_{i}") for i in range(pools)},
        "refine": {"execution_job_configs": [combine]},
        **{f"best_{i}": trained(name, f"best_{i}", f"refine.combine.best_{i}") for i in range(combinations)},
    }


def component(kind: str, meta_name: str, output: list[str]) -> dict[str, Any]:
    return {
        "hook": "GeneralDataExecutorHook",
        "meta_name": meta_name,
        "component_path": str(Path(__file__).parent),
        "env": "plain",
        "output": output,
        "extra_configs": {"type": f"pooling:{kind}"},
    }


def analysis(name: str) -> dict[str, Any]:
    recipe = {
        "project_name": "bench",
        "dataset_path": corpus("train"),
        "export_path": f"{name}/analysed.jsonl",
        "process": [{each: None} for each in FILTERS],
    }
    return {"hook": "ProbeViaAnalyzerHook", "meta_name": "analyse", "output": "analysed", "dj_configs": recipe}


def trained(name: str, pipeline: str, dataset: str) -> dict[str, Any]:
    """A training on `dataset`, the output of another job, and an evaluation of the trained model."""
    train = {
        "hook": "TrainModelHook",
        "meta_name": "train",
        "input": {"extra_configs.train_dataset": dataset},
        "output": "model",
        "extra_configs": training("<a pool>", f"{name}/models/{pipeline}"),
    }
    evaluate = {
        "hook": "EvaluateModelHook",
        "meta_name": "evaluate",
        "input": {"extra_configs.model": f"{pipeline}.train.model"},
        "output": "quality",
        "extra_configs": {"type": "perplexity", "model": "<the trained model>", "dataset_path": corpus("heldout")},
    }
    return {"execution_job_configs": [train], "evaluation_job_configs": [evaluate]}


if __name__ == "__main__":
    main()
