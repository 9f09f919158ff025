"""How a trainer tells of itself in its log: a bar, and one JSON line a logged step; and how such lines are read."""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

SERIES = ("loss", "learning_rate", "grad_norm")
"""What is told by step."""

_MAPPING = re.compile(r"\{.*\}")
_ITEM = re.compile(r"'(\w+)': '?([^\s',}]+)'?")


def say(record: dict[str, Any]) -> None:
    """Write `record` as a line of the log, on the stream of the bar, so that neither cuts the other in two."""
    _bars().write(json.dumps(record), file=sys.stderr)


def parse(line: str) -> dict[str, Any]:
    """What a line of the log says: a record that was `said`, or one that transformers prints itself; else nothing.

    transformers prints a dict as Python does, its values floats up to 4.57 and strings in 5.x.
    """
    found = _MAPPING.search(line)
    if found is None:
        return {}
    if found.group().startswith("{'"):
        numbers = ((name, _number(text)) for name, text in _ITEM.findall(found.group()))
        return {name: number for name, number in numbers if number is not None}
    try:
        record = json.loads(found.group())
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _bars() -> Any:
    return importlib.import_module("tqdm").tqdm


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def make_reporter() -> Any:
    """A callback for the Trainer that shows the bar and writes the lines, and knows the `final_loss()`."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.bar: Any = None
            self.losses: list[tuple[int, float]] = []

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar = _bars()(total=state.max_steps, desc="training", unit="step", mininterval=0.2)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                values = {name: float(logs[name]) for name in SERIES if name in logs}
                self.losses.append((state.global_step, values["loss"]))
                say({"step": state.global_step, **values})

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.close()

        def final_loss(self) -> float | None:
            """The mean loss over the last tenth of the steps; None where nothing was logged."""
            if not self.losses:
                return None
            last = self.losses[-1][0]
            final = [loss for step, loss in self.losses if step > last - max(1, last // 10)]
            return sum(final) / len(final)

    return Reporter()
