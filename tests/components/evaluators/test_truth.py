"""Accuracy and mean squared error of predictions in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.base import Config
from components.evaluators.truth import AccuracyEvaluator, MSEEvaluator
from sandbox_actors.errors import ComponentFailed, ConfigError

LABELS = {"predicted_label_key": "out.label", "ground_truth_label_key": "label"}
VALUES = {"predicted_value_key": "grades", "ground_truth_value_key": "truth"}


def write(path: Path, samples: list[Any]) -> str:
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return str(path)


def labelled(*pairs: tuple[Any, Any]) -> list[Any]:
    return [{"out": {"label": predicted}, "label": truth} for predicted, truth in pairs]


def graded(*pairs: tuple[Any, Any]) -> list[Any]:
    return [{"grades": predicted, "truth": truth} for predicted, truth in pairs]


def accuracy(path: Any, **settings: Any) -> Any:
    return AccuracyEvaluator(Config({"predicted_dataset_path": path, **LABELS, **settings})).run("data")


def mse(path: Any, **settings: Any) -> Any:
    return MSEEvaluator(Config({"predicted_dataset_path": path, **VALUES, **settings})).run("data")


def test_accuracy_is_the_share_of_right_labels_and_the_best_is_the_highest(tmp_path: Path) -> None:
    low = write(tmp_path / "low.jsonl", labelled(("a", "a"), ("b", "a"), ("a", "a"), ("c", "c")))
    high = write(tmp_path / "high.jsonl", labelled((1, "1"), (True, True)))
    results, best = accuracy([low, high])
    assert results == [
        {"pred_path": low, "gt_path": low, "accuracy": 0.75, "samples": 4, "format_error": 0},
        {"pred_path": high, "gt_path": high, "accuracy": 1.0, "samples": 2, "format_error": 0},
    ]
    assert best == 1.0


def test_what_is_no_label_counts_as_a_format_error_and_as_not_predicted(tmp_path: Path) -> None:
    samples = [*labelled(("a", "a"), (None, "a"), (["a"], "a")), {"label": "a"}]
    (result,), best = accuracy(write(tmp_path / "x.jsonl", samples))
    assert (result["accuracy"], result["samples"], result["format_error"], best) == (0.25, 4, 3, 0.25)


def test_the_mean_squared_error_is_over_what_parses_and_the_best_is_the_lowest(tmp_path: Path) -> None:
    close = write(tmp_path / "close.jsonl", graded((1, 1.5), ("2", "2"), ("about 3", 3), (None, 1), (4, "nan")))
    far = write(tmp_path / "far.jsonl", graded((0, 10)))
    none = write(tmp_path / "none.jsonl", graded(("?", 1), ("!", 2)))
    results, best = mse([far, close, none])
    assert [(each["mse"], each["samples"], each["format_error"]) for each in results] == [
        (100.0, 1, 0),
        (0.125, 5, 3),
        (None, 2, 2),
    ]
    assert best == 0.125
    with pytest.raises(ComponentFailed, match="no sample of any file"):
        mse(none)


def test_the_truth_may_be_in_files_of_its_own(tmp_path: Path) -> None:
    predicted = [write(tmp_path / f"p{each}.jsonl", [{"grades": each}, {"grades": 2}]) for each in (1, 3)]
    truth = write(tmp_path / "t.jsonl", [{"truth": 1}, {"truth": 2}])
    results, best = mse(predicted, ground_truth_dataset_path=[truth, truth])
    assert [(each["gt_path"], each["mse"]) for each in results] == [(truth, 0.0), (truth, 2.0)]
    assert best == 0.0


def test_files_that_do_not_match_are_told(tmp_path: Path) -> None:
    one, two = (write(tmp_path / f"{count}.jsonl", graded(*[(1, 1)] * count)) for count in (1, 2))
    with pytest.raises(ComponentFailed, match=r"1\.jsonl ends after 1 samples, .*2\.jsonl has more"):
        mse(one, ground_truth_dataset_path=two)
    with pytest.raises(ComponentFailed, match=r"1\.jsonl ends after 1 samples"):
        mse(two, ground_truth_dataset_path=one)
    with pytest.raises(ConfigError, match="ground_truth_dataset_path: 1 files for 2"):
        mse([one, two], ground_truth_dataset_path=[one])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ground_truth_value_key": "truht"}, "no sample of .* has the key 'truht'"),
        ({"predicted_value_key": "grades.0"}, "no sample of .* has the key 'grades.0'"),
        ({"predicted_value_key": None}, "predicted_value_key: missing"),
        ({"ground_truth_dataset_path": "absent.jsonl"}, "ground_truth_dataset_path: absent.jsonl is not a file"),
        ({"predicted_dataset_path": ["absent.jsonl"]}, "predicted_dataset_path: absent.jsonl is not a file"),
    ],
)
def test_a_config_that_fits_no_data_is_told(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "x.jsonl", graded((1, 1)))
    with pytest.raises((ConfigError, ComponentFailed), match=message):
        mse(path, **settings)


def test_an_empty_file_and_a_broken_line_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("\n")
    with pytest.raises(ComponentFailed, match=r"x\.jsonl has no samples"):
        mse(str(path))
    path.write_text('{"grades": 1, "truth": 1}\n{"grades": \n')
    with pytest.raises(ComponentFailed, match=r"x\.jsonl, line 2: not a sample"):
        mse(str(path))
