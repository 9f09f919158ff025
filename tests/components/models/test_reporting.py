from __future__ import annotations

import math

import pytest

from components.base import Config
from components.models.reporting import parse
from components.models.transformers_trainer import TransformersTrainExecutor


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("{'loss': '6.353', 'grad_norm': '0.5071', 'learning_rate': '0.001', 'epoch': '0.1'}", (6.353, 0.5071, 0.001)),
        ("{'loss': 6.353, 'grad_norm': 0.5071, 'learning_rate': 1e-05, 'epoch': 0.1}", (6.353, 0.5071, 1e-05)),
        ("{'loss': 6.353, 'learning_rate': 5e-4}", (6.353, None, 5e-4)),
        ('{"step": 3, "loss": 6.353, "learning_rate": 0.1}', (6.353, None, 0.1)),
        (' 10%|#         | 10/100 [00:01<00:09]{"loss": 1.5}', (1.5, None, None)),
    ],
)
def test_losses_are_read_from_every_form_in_which_they_are_printed(line: str, values: tuple[float | None, ...]) -> None:
    record = parse(line)
    assert (record.get("loss"), record.get("grad_norm"), record.get("learning_rate")) == values


def test_a_loss_that_is_not_a_number_is_still_a_loss() -> None:
    assert math.isnan(parse("{'loss': 'nan', 'grad_norm': 'inf'}")["loss"])
    assert math.isnan(parse("{'loss': nan}")["loss"])
    assert math.isnan(parse('{"loss": NaN}')["loss"])


@pytest.mark.parametrize("line", ["", "loss: 3", "{broken", '{"loss": }', "[1, 2]", "{}", "set {1, 2}", '{"a"}'])
def test_other_lines_say_nothing(line: str) -> None:
    assert parse(line) == {}


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[object, int | None]] = []

    def watch(self, res: object, meta_name: str = "", step: int | None = None) -> None:
        self.seen.append((res, step))

    def query(self, meta_name: str) -> object:
        return None


def test_steps_are_counted_where_the_lines_do_not_say_them() -> None:
    watcher = Watcher()
    trainer = TransformersTrainExecutor(Config(), watcher)
    for line in ("{'loss': '3.0'}", "epoch 1", "{'loss': '2.0', 'learning_rate': '0.1'}", "{'eval_loss': '1.0'}"):
        trainer._watch_run(line)
    assert watcher.seen == [({"loss": 3.0}, 1), ({"loss": 2.0, "learning_rate": 0.1}, 2)]


def test_results_are_no_points_of_a_series() -> None:
    watcher = Watcher()
    TransformersTrainExecutor(Config(), watcher)._watch_run('{"results": {"samples": 3, "final_loss": 1.5}}')
    assert watcher.seen == [({"samples": 3, "final_loss": 1.5}, None)]
