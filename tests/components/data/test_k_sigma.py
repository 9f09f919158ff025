from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.base import Config
from components.data.bounds import BoundChange, operator_bounds
from components.data.k_sigma import KSigmaRefiner, refine
from components.data.statistic_ranges import RANGES
from sandbox_actors.errors import ConfigError

MEAN = {
    "text_len": 100.0,
    "alnum_ratio": 0.7,
    "image_width": 640.0,
    "image_height": 480.0,
    "image_text_similarity": 0.1,
}
STD = {"text_len": 40.5, "alnum_ratio": 0.05, "image_width": 20.0, "image_height": 10.0, "image_text_similarity": 0.2}


def refined(operator: str, arguments: dict[str, Any] | None, k: float = 3.0, **stats: tuple[float, float]) -> Any:
    """The arguments after refinement, and the changes."""
    mean = MEAN | {name: pair[0] for name, pair in stats.items()}
    std = STD | {name: pair[1] for name, pair in stats.items()}
    recipe, changes = refine({"process": [{operator: arguments}]}, mean, std, k)
    return recipe["process"][0][operator], changes


def test_bounds_move_k_standard_deviations_from_the_mean() -> None:
    arguments, changes = refined("alphanumeric_filter", {"min_ratio": 0.1, "max_ratio": 1.0}, k=2)
    assert arguments == {"min_ratio": 0.6, "max_ratio": 0.8}
    assert changes[0] == BoundChange(
        operator="alphanumeric_filter", parameter="min_ratio", before=0.1, after=0.6, statistic="alnum_ratio"
    )


def test_three_standard_deviations_unless_told_otherwise() -> None:
    arguments, _ = refined("alphanumeric_filter", {"min_ratio": 0.1})
    assert arguments == {"min_ratio": 0.55}


def test_integer_bounds_stay_integers_and_are_rounded_outwards() -> None:
    arguments, _ = refined("text_length_filter", {"min_len": 10, "max_len": 10_000}, k=1)
    assert arguments == {"min_len": 59, "max_len": 141}
    assert all(type(value) is int for value in arguments.values())


def test_other_bounds_are_rounded_outwards_to_six_digits() -> None:
    arguments, _ = refined("alphanumeric_filter", {"min_ratio": 0, "max_ratio": 1}, k=1, alnum_ratio=(0.5, 1 / 3))
    assert arguments == {"min_ratio": 0.166666, "max_ratio": 0.833334}


def test_no_bound_goes_past_what_its_statistic_can_be() -> None:
    assert refined("text_length_filter", {"min_len": 10}, text_len=(10.0, 50.0))[0] == {"min_len": 0}
    arguments, _ = refined("alphanumeric_filter", {"min_ratio": 0.1, "max_ratio": 0.9}, k=20)
    assert arguments == {"min_ratio": 0.0, "max_ratio": 1.0}
    assert refined("perplexity_filter", {"max_ppl": 1.0}, perplexity=(5.0, 2.0))[0] == {"max_ppl": 11.0}
    similarity, _ = refined("image_text_similarity_filter", {"min_score": 0.1, "max_score": 1.0})
    assert similarity["min_score"] == pytest.approx(-0.5)


def test_a_ratio_that_is_no_share_may_be_above_one() -> None:
    arguments, _ = refined("image_aspect_ratio_filter", {"max_ratio": 3.0}, aspect_ratios=(1.3, 0.4))
    assert arguments == {"max_ratio": 2.5}


def test_each_bound_of_an_operator_with_several_statistics_goes_by_its_own() -> None:
    before = {"min_width": 1, "max_width": 9999, "min_height": 1, "max_height": 9999}
    arguments, _ = refined("image_shape_filter", before, k=1)
    assert arguments == {"min_width": 620, "max_width": 660, "min_height": 470, "max_height": 490}


def test_flags_and_parameters_that_bound_nothing_are_untouched() -> None:
    before = {"min_ratio": 0.1, "min_closed_interval": True, "max_closed_interval": False, "tokenization": False}
    arguments, changes = refined("alphanumeric_filter", before)
    assert arguments == before | {"min_ratio": 0.55}
    assert arguments["min_closed_interval"] is True
    assert [change.parameter for change in changes] == ["min_ratio"]
    assert refined("word_repetition_filter", {"rep_len": 5, "max_ratio": 0.3}, word_rep_ratio=(0.1, 0.1))[0] == {
        "rep_len": 5,
        "max_ratio": 0.4,
    }


def test_the_statistic_of_a_chosen_field_is_the_field() -> None:
    before = {"field_key": "text_len", "min_value": 1, "max_value": 2}
    arguments, changes = refined("specified_numeric_field_filter", before, k=1)
    assert arguments == {"field_key": "text_len", "min_value": 59.5, "max_value": 140.5}
    assert [change.statistic for change in changes] == ["text_len", "text_len"]


@pytest.mark.parametrize(
    ("before", "mean", "after"),
    [
        ("1kb", 512_000.0, "500kb"),
        ("1MB", 512_000.0, "500KB"),
        ("1MiB", 1e9, "954MiB"),
        ("20kb", 900.0, "900"),
        ("20kb", 90.5, "91"),
        ("1024", 90.5, "91"),
        ("1 TB", 5e11, "466GB"),
    ],
)
def test_sizes_stay_sizes_in_their_form(before: str, mean: float, after: str) -> None:
    arguments, (change,) = refined("image_size_filter", {"max_size": before}, image_sizes=(mean, 0.0))
    assert arguments == {"max_size": after}
    assert change.reason == ""


def test_ratios_stay_ratios_in_their_form() -> None:
    stats = {"video_aspect_ratios": (1.5, 0.111)}
    before = {"min_ratio": "9/21", "max_ratio": "21:9"}
    assert refined("video_aspect_ratio_filter", before, k=1, **stats)[0] == {
        "min_ratio": "138/100",
        "max_ratio": "162:100",
    }


def test_only_bounds_that_the_recipe_names_are_moved() -> None:
    assert refined("text_length_filter", {"max_len": 5})[0] == {"max_len": 222}
    assert refined("text_length_filter", None) == (None, [])
    assert refined("text_length_filter", {"min_len": None}) == ({"min_len": None}, [])
    assert refined("clean_email_mapper", {"pattern": "x"}) == ({"pattern": "x"}, [])


@pytest.mark.parametrize(
    ("operator", "arguments", "reason"),
    [
        ("words_num_filter", {"min_num": 3}, "the analysis has no num_words"),
        ("text_length_filter", {"min_len": "many"}, "not a number"),
        ("image_size_filter", {"min_size": "1.5 kb"}, "not a number"),
        ("specified_numeric_field_filter", {"min_value": 1, "field_key": "absent"}, "the analysis has no absent"),
        ("text_length_filter", {"min_len": 3, "reversed_range": True}, "its range is reversed"),
    ],
)
def test_a_bound_that_cannot_be_moved_is_left_and_the_reason_told(
    operator: str, arguments: dict[str, Any], reason: str
) -> None:
    after, (change,) = refined(operator, arguments)
    assert after == arguments
    assert change.after == change.before
    assert change.reason == reason


def test_a_statistic_without_a_spread_moves_nothing() -> None:
    after, (change,) = refined("text_length_filter", {"min_len": 3}, text_len=(5.0, float("nan")))
    assert after == {"min_len": 3}
    assert change.reason == "the analysis has no text_len"


def test_two_statistics_for_one_bound_are_not_guessed_between() -> None:
    _, (change,) = refined("alphanumeric_filter", {"min_ratio": 0.1}, alpha_token_ratio=(3.0, 1.0))
    assert change.reason == "the analysis has several of alnum_ratio, alpha_token_ratio"


def test_the_rest_of_the_recipe_is_kept_and_the_original_untouched() -> None:
    recipe = {"np": 2, "process": [{"clean_email_mapper": None}, {"text_length_filter": {"min_len": 10}}, {}]}
    kept = json.loads(json.dumps(recipe))
    new, _ = refine(recipe, MEAN, STD)
    assert recipe == kept
    assert new == {"np": 2, "process": [{"clean_email_mapper": None}, {"text_length_filter": {"min_len": 0}}, {}]}


def test_every_range_is_that_of_a_statistic_there_is() -> None:
    known = {name for bounds in operator_bounds().values() for bound in bounds.values() for name in bound["stats"]}
    assert set(RANGES) <= known


def test_the_refined_recipe_is_written_and_the_changes_returned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "recipe.json"
    config = Config(
        recipe={"dataset_path": "x.jsonl", "process": [{"text_length_filter": {"min_len": 10, "max_len": 20}}]},
        analysis={"mean": MEAN, "std": STD},
        path_k_sigma_recipe=str(path),
        k=1,
    )
    result = KSigmaRefiner(config).run()
    assert result["path"] == str(path)
    assert [(change["parameter"], change["before"], change["after"]) for change in result["changes"]] == [
        ("min_len", 10, 59),
        ("max_len", 20, 141),
    ]
    assert json.loads(path.read_text())["process"] == [{"text_length_filter": {"min_len": 59, "max_len": 141}}]
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["text_length_filter", "min_len", "10", "59", "text_len"] in said


def analysed(tmp_path: Path, *lengths: object) -> str:
    path = tmp_path / "analysed.jsonl"
    path.write_text("".join(json.dumps({"text": "", "__dj__stats__": {"text_len": each}}) + "\n" for each in lengths))
    return str(path)


def test_the_samples_that_would_go_are_counted_bound_by_bound(tmp_path: Path) -> None:
    config = Config(
        recipe={"process": [{"text_length_filter": {"min_len": 10, "max_len": 200, "max_closed_interval": False}}]},
        analysis={"mean": MEAN, "std": STD, "files": {"dataset": analysed(tmp_path, 5, 10, 60, 141, 200, 300, None)}},
        path_k_sigma_recipe=str(tmp_path / "recipe.json"),
        k=1,
    )
    result = KSigmaRefiner(config).run()
    assert [(each["after"], each["gone_before"], each["gone_after"]) for each in result["bounds"]] == [
        (59, 1, 2),
        (141, 2, 3),
    ]


@pytest.mark.parametrize(("how", "gone"), [("any", 1), ("all", 2)])
def test_of_several_values_any_or_all_have_to_be_inside(tmp_path: Path, how: str, gone: int) -> None:
    dataset = analysed(tmp_path, [], [1, 50], [1, 2], [50, 60])
    recipe = {"process": [{"text_length_filter": {"min_len": 10, "any_or_all": how}}]}
    analysis = {"mean": MEAN, "std": STD, "files": {"dataset": dataset}}
    config = Config(recipe=recipe, analysis=analysis, path_k_sigma_recipe=str(tmp_path / "recipe.json"))
    assert KSigmaRefiner(config).run()["bounds"][0]["gone_before"] == gone


@pytest.mark.parametrize("path", [None, "recipe.txt", 3])
def test_a_recipe_needs_a_place_of_a_form_that_data_juicer_reads(path: object) -> None:
    with pytest.raises(ConfigError, match=r"path_k_sigma_recipe: must be the path of a \.yaml"):
        KSigmaRefiner(Config(recipe={"process": []}, path_k_sigma_recipe=path)).run()


@pytest.mark.parametrize("recipe", [None, {}, {"process": "x"}])
def test_what_is_no_recipe_cannot_be_refined(recipe: object) -> None:
    with pytest.raises(ConfigError, match="has no list of operators"):
        KSigmaRefiner(Config(recipe=recipe, path_k_sigma_recipe="x.yaml")).run()
