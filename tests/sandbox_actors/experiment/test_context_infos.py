"""`context_infos`: recording what jobs gave, naming it, finding it again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.context_infos import (
    ContextInfos,
    NothingGiven,
    iterations_from_list,
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
def test_a_name_finds_the_newest_job_that_has_the_output_and_what_lies_in_it(
    infos: ContextInfos, name: str, value: Any
) -> None:
    assert infos.look_up(name) == value


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("third.probe.recipe", "no job 'probe' of pipeline 'third'"),
        ("fourth.probe.recipe", "no job 'probe' of pipeline 'fourth'"),
        ("first.probes.recipe", "no job 'probes'"),
        ("first.probe.score", "gave no 'score'; it gave recipe"),
        ("first.quiet.res_0", "gave no 'res_0'; it gave nothing"),
        ("first.evaluate.scores.bleu", "no 'bleu' there, only 'loss', 'eval.loss'"),
        ("first.evaluate", "write also which of its outputs: scores"),
    ],
)
def test_a_name_that_finds_nothing_says_what_there_is(infos: ContextInfos, name: str, complaint: str) -> None:
    with pytest.raises(ContextError, match=complaint):
        infos.look_up(name)


def test_minus_one_is_the_last_job_that_gave_anything_also_of_an_earlier_pipeline(infos: ContextInfos) -> None:
    assert infos.look_up_last("-1.scores.loss", "second") == 0
    infos.record("second", {"meta_name": "train", "model": None})
    assert infos.look_up_last("-1.model", "second") is None
    assert infos.look_up_last("-1.scores.loss", "first") == 0
    assert infos.look_up_last("-1.model") is None


def test_minus_one_does_not_look_past_the_last_job_that_gave_anything(infos: ContextInfos) -> None:
    with pytest.raises(ContextError, match=r"first\.evaluate, gave scores"):
        infos.look_up_last("-1.recipe", "third")
    with pytest.raises(NothingGiven):
        ContextInfos(1, ["first"]).look_up_last("-1.recipe", "first")


def test_the_infos_of_all_iterations_are_json_in_two_levels_and_read_back(infos: ContextInfos) -> None:
    document = json.loads(json.dumps(iterations_to_list([infos, ContextInfos(2, ["first"])])))
    assert document[0]["context_infos"]["second"] == [{"meta_name": "quiet"}]
    assert list(document[0]["context_infos"]) == ["first", "second"]
    assert document[1] == {"iter": 2, "context_infos": {}}
    assert iterations_to_list(iterations_from_list(document)) == document


@pytest.mark.parametrize("document", [[3], [{"iter": 1}], [{"iter": 1, "context_infos": [1]}], 3])
def test_what_is_no_context_infos_is_refused(document: Any) -> None:
    with pytest.raises(ContextError):
        iterations_from_list(document)


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
def test_what_a_job_returns_is_recorded_under_its_names(
    returned: list[Any], is_tuple: bool, names: list[str] | None, outputs: dict[str, Any]
) -> None:
    assert name_outputs("job", names, returned, is_tuple) == {"meta_name": "job", **outputs}


@pytest.mark.parametrize(
    ("returned", "is_tuple", "names"),
    [(["a"], False, ["x", "y"]), (["a", "b"], True, ["x"]), ([], True, ["x"]), ([None], False, ["x", "y"])],
)
def test_a_different_number_of_outputs_than_names_is_an_error(
    returned: list[Any], is_tuple: bool, names: list[str]
) -> None:
    with pytest.raises(ContextError, match=f"`output` names {len(names)}: x"):
        name_outputs("job", names, returned, is_tuple)
