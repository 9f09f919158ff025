"""`context_infos`: the outputs of jobs are recorded, named and found again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.context_infos import (
    ContextInfos,
    NoOutputYet,
    iterations_to_list,
    name_outputs,
)


@pytest.fixture
def infos() -> ContextInfos:
    context = ContextInfos(1, ["first", "second", "third"])
    context.record("first", {"meta_name": "probe", "res_0": "stats.jsonl"})
    context.record("first", {"meta_name": "probe", "recipe": "new.yaml"})
    context.record("first", {"meta_name": "evaluate", "scores": {"loss": 0, "eval.loss": [1, None, ""]}})
    context.record("first", {"meta_name": "quiet"})
    context.record("second", {"meta_name": "quiet"})
    return context


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first.probe.res_0", "stats.jsonl"),
        ("first.probe.recipe", "new.yaml"),
        ("first.evaluate.scores.loss", 0),
        ("first.evaluate.scores.eval.loss.1", None),
        ("first.evaluate.scores.eval.loss.-1", ""),
    ],
)
def test_a_name_finds_the_output_of_the_newest_job_that_has_it_and_values_inside_of_it(
    infos: ContextInfos, name: str, value: Any
) -> None:
    assert infos.look_up(name) == value


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("third.probe.recipe", "no job 'probe' of pipeline 'third'"),
        ("fourth.probe.recipe", "no job 'probe' of pipeline 'fourth'"),
        ("first.probes.recipe", "no job 'probes'"),
        ("first.probe.score", "job 'probe' has no output 'score', only recipe"),
        ("first.quiet.res_0", "job 'quiet' has no output 'res_0', only nothing"),
        ("first.evaluate.scores.bleu", "no 'bleu' there, only 'loss', 'eval.loss'"),
        ("first.evaluate", "add which of its outputs is meant: scores"),
    ],
)
def test_a_name_that_finds_nothing_is_an_error_that_lists_what_exists(
    infos: ContextInfos, name: str, complaint: str
) -> None:
    with pytest.raises(ContextError, match=complaint):
        infos.look_up(name)


def test_minus_one_is_the_last_job_with_any_output_even_in_an_earlier_pipeline(infos: ContextInfos) -> None:
    assert infos.look_up_last("-1.scores.loss", "second") == 0
    infos.record("second", {"meta_name": "train", "model": None})
    assert infos.look_up_last("-1.model", "second") is None
    assert infos.look_up_last("-1.scores.loss", "first") == 0
    assert infos.look_up_last("-1.model") is None


def test_minus_one_does_not_look_beyond_the_last_job_with_any_output(infos: ContextInfos) -> None:
    with pytest.raises(ContextError, match=r"first\.evaluate, has only scores"):
        infos.look_up_last("-1.recipe", "third")
    with pytest.raises(NoOutputYet):
        ContextInfos(1, ["first"]).look_up_last("-1.recipe", "first")


def test_the_infos_of_all_iterations_are_json_in_two_levels_and_can_be_read_back(infos: ContextInfos) -> None:
    document = json.loads(json.dumps(iterations_to_list([infos, ContextInfos(2, ["first"])])))
    assert document[0]["context_infos"]["second"] == [{"meta_name": "quiet"}]
    assert list(document[0]["context_infos"]) == ["first", "second"]
    assert document[1] == {"iter": 2, "context_infos": {}}
    back = [ContextInfos.from_dict(each["iter"], each["context_infos"]) for each in document]
    assert iterations_to_list(back) == document


@pytest.mark.parametrize(
    ("returned", "is_tuple", "names", "outputs"),
    [
        (["a"], False, None, {"res_0": "a"}),
        (["a"], False, ["path"], {"path": "a"}),
        ([["a"]], False, ["path"], {"path": "a"}),
        ([["a", "b"]], False, ["paths"], {"paths": ["a", "b"]}),
        ([[]], False, None, {"res_0": []}),
        (["a", ["b"]], True, None, {"res_0": "a", "res_1": ["b"]}),
        (["a", "b"], True, ["x", "y"], {"x": "a", "y": "b"}),
        ([["a"]], True, ["x"], {"x": ["a"]}),
        ([0], False, None, {"res_0": 0}),
        ([0.0], False, ["loss"], {"loss": 0.0}),
        ([{}], False, None, {"res_0": {}}),
        ([""], False, None, {"res_0": ""}),
        ([False], False, None, {"res_0": False}),
        ([None], False, ["model"], {"model": None}),
        ([[None]], False, None, {"res_0": None}),
        ([None], True, None, {"res_0": None}),
        ([None], False, None, {}),
        ([], True, None, {}),
    ],
)
def test_what_a_job_returns_is_recorded_under_the_names_of_its_outputs(
    returned: list[Any], is_tuple: bool, names: list[str] | None, outputs: dict[str, Any]
) -> None:
    assert name_outputs("job", names, returned, is_tuple) == {"meta_name": "job", **outputs}


@pytest.mark.parametrize(
    ("returned", "is_tuple", "names"),
    [(["a"], False, ["x", "y"]), (["a", "b"], True, ["x"]), ([], True, ["x"]), ([None], False, ["x", "y"])],
)
def test_a_number_of_outputs_that_differs_from_that_of_the_names_is_an_error(
    returned: list[Any], is_tuple: bool, names: list[str]
) -> None:
    with pytest.raises(ContextError, match=f"`output` names {len(names)}: x"):
        name_outputs("job", names, returned, is_tuple)
