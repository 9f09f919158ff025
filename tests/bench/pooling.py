"""Components for a benchmark: data pools by statistic, and combinations of the best pools."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

from components.base import BaseDataPoolManipulator

PARTS = ("low", "middle", "high")


class PoolsByStatistic(BaseDataPoolManipulator):
    """Cuts the samples of `dataset_path` into three equal pools by each of `statistics`: low, middle and high values.

    Returns their paths below `export_path`, statistic by statistic.
    """

    is_light = True

    def run(self) -> tuple[str, ...]:
        config = self.data_pool_cfg
        samples = [json.loads(line) for line in Path(config["dataset_path"]).read_text(encoding="utf-8").splitlines()]
        written = []
        for statistic in config["statistics"]:
            ordered = sorted(samples, key=lambda sample: float(sample["__dj__stats__"][statistic]))
            size = len(ordered) // len(PARTS)
            for index, part in enumerate(PARTS):
                path = os.path.join(config["export_path"], f"{statistic}_{part}.jsonl")
                written.append(_write(path, ordered[index * size : (index + 1) * size]))
        return tuple(written)


class BestCombined(BaseDataPoolManipulator):
    """Takes the best pool of each statistic, the one with the lowest of `scores`, and merges each non-empty subset of
    them: seven for three statistics. Returns their paths below `export_path`."""

    is_light = True

    def run(self) -> tuple[str, ...]:
        config = self.data_pool_cfg
        scored = list(zip(config["scores"], config["pools"], strict=True))
        best = [min(scored[start : start + len(PARTS)])[1] for start in range(0, len(scored), len(PARTS))]
        written = []
        for size in range(1, len(best) + 1):
            for chosen in itertools.combinations(best, size):
                lines = [line for path in chosen for line in Path(path).read_text(encoding="utf-8").splitlines()]
                samples = [json.loads(line) for line in dict.fromkeys(lines)]
                written.append(_write(os.path.join(config["export_path"], f"best_{len(written)}.jsonl"), samples))
        return tuple(written)


def _write(path: str, samples: list[dict[str, Any]]) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for sample in samples:
            file.write(json.dumps({"text": sample["text"]}) + "\n")
    return path
