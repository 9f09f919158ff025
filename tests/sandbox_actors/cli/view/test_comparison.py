"""The comparison of pipelines."""

from __future__ import annotations

from typing import Any

from sandbox_actors.cli.view.comparison import compare
from sandbox_actors.protocol.rows import MetricRow
from tests.sandbox_actors.cli.view.view_rows import job, metric


def jobs() -> dict[str, Any]:
    return {
        "baseline": [job(0, seconds=2.0, warm=False), job(1, seconds=1.5, warm=True)],
        "refined": [job(2, pipeline="refined", seconds=7.0, warm=True)],
    }


def rows(results: list[MetricRow]) -> dict[str, tuple[list[str], str]]:
    return {label: (cells, difference) for label, cells, difference in compare(jobs(), results).rows}


def refined(name: str, value: Any, **fields: Any) -> MetricRow:
    return metric(name, value, pipeline="refined", **fields)


def test_results_are_compared_then_seconds_and_actors() -> None:
    found = compare(jobs(), [metric("train.samples", 4000), refined("train.samples", 3000)])
    assert found.pipelines == ["baseline", "refined"]
    assert found.rows == [
        ("samples", ["4,000", "3,000"], "-25.0%"),
        ("seconds", ["3.5", "7"], "+100.0%"),
        ("actors", ["1 warm, 1 cold", "1 warm"], ""),
    ]


def test_a_metric_with_a_dot_in_its_name_or_with_a_step_is_not_a_result() -> None:
    found = rows(
        [metric("bare", 1), metric("train.text_len.mean", 2), metric("train.loss", 3, step=1), metric("a.b", 4)]
    )
    assert list(found) == ["bare", "seconds", "actors"]


def test_the_same_result_of_differently_named_jobs_is_one_row() -> None:
    found = rows([metric("train.loss", 4.0), refined("train_again.loss", 5.0, job="train_again")])
    assert found["loss"] == (["4", "5"], "+25.0%")


def test_two_jobs_of_one_pipeline_with_the_same_result_are_labelled_with_their_names() -> None:
    found = rows([metric("train.loss", 4.0), metric("test.loss", 5.0, job="test"), refined("train.loss", 3.0)])
    assert found["train.loss"][0] == ["4", "3"]
    assert found["test.loss"][0] == ["5", ""]


def test_a_row_of_only_one_pipeline_keeps_its_place() -> None:
    baseline = [metric("train.loss", 1.0), metric("eval.ppl", 2.0, job="eval")]
    other = [refined("clean.kept", 3, job="clean"), refined("train.loss", 1.0), refined("train.extra", 1)]
    found = rows([*baseline, *other])
    assert list(found)[:4] == ["kept", "loss", "extra", "ppl"]
    assert found["kept"] == (["", "3"], "")


def test_a_meaningless_difference_is_left_out() -> None:
    pairs = {"same": (2, 2), "zero": (0, 1), "words": ("a", "b"), "huge": (1, 1000), "flags": (True, False)}
    pairs["gone"] = (5, float("nan"))
    results = [metric(name, first) for name, (first, _) in pairs.items()]
    results += [refined(name, second) for name, (_, second) in pairs.items()]
    assert {name: rows(results)[name][1] for name in pairs} == dict.fromkeys(pairs, "")


def test_results_without_a_pipeline_are_left_out() -> None:
    assert list(rows([metric("target.x", 1, pipeline="")])) == ["seconds", "actors"]
