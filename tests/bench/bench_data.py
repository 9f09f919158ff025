"""The time that Data-Juicer takes in a warm actor: `python -m tests.bench.bench_data [--envs FOLDER]`.

One analysis and one processing of 60 samples by four filters: in new processes, and repeatedly in the same processes.
Also the time of a refinement, and of measuring the quality of texts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from components.data.corpus import paragraphs
from components.data.feedback import refine
from envs.builder import build
from envs.specs import load_spec
from tests.bench.figures import print_figure
from tests.components.conftest import ComponentProcess

SAMPLES = 60
RUNS = 20
GOAL = 0.5
"""Seconds for a warm pair. With its default settings, Data-Juicer takes 7.4 s warm and 21 s cold."""

FILTERS: list[dict[str, Any]] = [
    {"text_length_filter": {"min_len": 1, "max_len": 10_000}},
    {"alphanumeric_filter": {"min_ratio": 0.0, "max_ratio": 1.0}},
    {"special_characters_filter": {"min_ratio": 0.0, "max_ratio": 1.0}},
    {"character_repetition_filter": {"rep_len": 10, "max_ratio": 1.0}},
]

FITTED = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", default="", help="a folder of envs, to reuse those built before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder:
        env = build(load_spec("data-juicer"), Path(options.envs or f"{folder}/envs"))
        measure_pair(Path(env.python), Path(folder))
        measure_text_quality(Path(env.python), Path(folder))
    measure_feedback()


def measure_pair(python: Path, folder: Path) -> None:
    data = write(folder / "data.jsonl", [each.text for each in list(paragraphs())[:SAMPLES]])
    recipe = {"dataset_path": data, "process": FILTERS}
    configs = [{**recipe, "export_path": str(folder / name / "out.jsonl")} for name in ("analysed", "processed")]
    started = time.perf_counter()
    with (
        closing(ComponentProcess(python, "components.data.analyzer:DataAnalyzer", folder)) as analyzer,
        closing(ComponentProcess(python, "components.data.executor:DataExecutor", folder)) as executor,
    ):

        def pair() -> None:
            for process, config in zip((analyzer, executor), configs, strict=True):
                ran = process.run(config)
                assert ran.error is None, ran.log

        pair()
        cold = time.perf_counter() - started
        taken = [seconds(pair) for _ in range(RUNS)]
        before, after = (memory(analyzer, configs[0]) for _ in range(2))
    warm = statistics.median(taken)
    print_figure(
        f"analysis and processing of {SAMPLES}, cold", f"{cold:.2f} s", "two processes started at the same time"
    )
    print_figure(
        f"analysis and processing of {SAMPLES}, warm",
        f"{warm:.2f} s",
        f"median of {RUNS}, best {min(taken):.2f} s (goal: {GOAL}); cold is {cold / warm:.0f} times as long; "
        f"one more run grows by {(after - before) / 1e6:.1f} MB",
    )


def memory(process: ComponentProcess, config: dict[str, Any]) -> int:
    return process.run(config).rss


def measure_text_quality(python: Path, folder: Path) -> None:
    texts = [each.text for each in paragraphs()]
    data = write(folder / "texts.jsonl", texts)
    with closing(ComponentProcess(python, "components.evaluators.text_quality:TextQuality", folder)) as quality:
        for note, settings in (("all measures", {}), ("without near-duplicates", {"near_duplicate": False})):
            quality.run({"dataset_path": data, **settings}, "data")
            taken = seconds(lambda: quality.run({"dataset_path": data, **settings}, "data"))  # noqa: B023  # at once
            print_figure(
                "text_quality", f"{len(texts) / taken:,.0f}/s", f"texts a second, {note}, {len(texts):,} of them"
            )


def measure_feedback() -> None:
    """Fit two bounds to the samples in the middle of a statistic."""
    values = [(place * 7919) % FITTED for place in range(FITTED)]
    measures: list[float | None] = [abs(value - FITTED / 2) for value in values]
    recipe = {"process": [{"text_length_filter": {"min_len": 0, "max_len": FITTED}}]}
    taken = seconds(lambda: refine(recipe, {"text_len": values}, measures))
    print_figure("model feedback, two bounds", f"{taken:.2f} s", f"{FITTED:,} samples of as many different lengths")


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return str(path)


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
