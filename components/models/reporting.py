"""The log of a training: a progress bar, and a JSON line for each logged step; and the parser of these lines."""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

SERIES = ("loss", "learning_rate", "grad_norm", "eval_loss", "tokens_per_second", "samples_per_second")
"""The metrics by step. A sample is one sequence."""

_ITEM = re.compile(r"'(\w+)': '?([^\s',}]+)'?")


def say(record: dict[str, Any]) -> None:
    """Write `record` as a line of the log."""
    note(json.dumps(record))


def note(line: str) -> None:
    """Write a line of the log through the progress bar, so that neither splits the other."""
    _bars().write(line, file=sys.stderr)


def parse(line: str) -> dict[str, Any]:
    """The record in a line of the log, written by `say` or by transformers itself; else an empty one.

    transformers prints a Python dict. Its values are floats up to version 4.57, and strings in 5.x.
    """
    mapping = line[line.find("{") : line.rfind("}") + 1] if "{" in line else ""
    if mapping.startswith("{'"):
        numbers = ((name, _number(text)) for name, text in _ITEM.findall(mapping))
        return {name: number for name, number in numbers if number is not None}
    try:
        record = json.loads(mapping)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def final_loss(history: list[dict[str, Any]]) -> float | None:
    """The mean loss over the last tenth of the steps; None if nothing was logged. `history`: the records of the
    Trainer, with those of the run that it continued."""
    losses = [(int(each["step"]), float(each["loss"])) for each in history if "loss" in each]
    if not losses:
        return None
    last = losses[-1][0]
    final = [loss for step, loss in losses if step > last - max(1, last // 10)]
    return sum(final) / len(final)


def _bars() -> Any:
    return importlib.import_module("tqdm").tqdm


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def make_reporter(done: Callable[[Any], tuple[int, int]]) -> Any:
    """A callback for the Trainer that shows the bar and writes the lines. `done(state)` returns the numbers of tokens
    and of sequences trained on so far."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.bar: Any = None
            self._mark = (0.0, 0, 0)

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar = _bars()(
                total=state.max_steps, initial=state.global_step, desc="training", unit="step", mininterval=0.2
            )
            self._mark = (time.perf_counter(), *done(state))

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            values = {name: float(logs[name]) for name in SERIES if name in (logs or {})}
            if "loss" in values:
                say({"step": state.global_step, **values, **self._throughput(state)})
            elif values:
                say({"step": state.global_step, **values})

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.close()

        def _throughput(self, state: Any) -> dict[str, float]:
            """Since the previous line."""
            now = (time.perf_counter(), *done(state))
            seconds, tokens, samples = (new - old for new, old in zip(now, self._mark, strict=True))
            self._mark = now
            return {"tokens_per_second": round(tokens / seconds, 1), "samples_per_second": round(samples / seconds, 2)}

    return Reporter()
