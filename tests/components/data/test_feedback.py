"""Bounds fitted to what a model can learn from, on data whose right answer is known."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base import Config
from components.data.feedback import FeedbackRefiner, Interval, Settings, band_of, best_interval, chance, fit, refine
from sandbox_actors.errors import ComponentFailed, ConfigError

RECIPE = {
    "np": 2,
    "process": [
        "whitespace_normalization_mapper",
        {"text_length_filter": {"min_len": 1, "max_len": 10_000}},
        {"alphanumeric_filter": {"min_ratio": 0.0, "max_ratio": 1.0}},
        {"special_characters_filter": {"max_ratio": 0.5}},
    ],
}


def learnable(count: int = 1000, noise: float = 0.0, seed: int = 7) -> tuple[dict[str, list[Any]], list[float | None]]:
    """The loss is in its band, 1 to 2, exactly for lengths from 100 to 700; below it is 3, above it is 0. With `noise`,
    so many samples have a loss that depends on nothing. The other statistics say nothing."""
    draw = random.Random(seed)
    lengths = [draw.randrange(1000) for _ in range(count)]
    losses: list[float | None] = [
        draw.choice((0.0, 1.5, 3.0))
        if draw.random() < noise
        else 3.0 + draw.random()
        if length < 100
        else 1.0 + draw.random()
        if length <= 700
        else draw.random() / 2
        for length in lengths
    ]
    others = {name: [draw.random() for _ in range(count)] for name in ("alnum_ratio", "special_char_ratio")}
    return {"text_len": lengths, **others}, losses


def share_between(losses: list[float | None]) -> tuple[float, float]:
    """The quantiles between which the losses of the band lie."""
    below = sum(loss is not None and loss < 1 for loss in losses) / len(losses)
    above = sum(loss is not None and loss > 2 for loss in losses) / len(losses)
    return below, 1 - above


def test_the_interval_that_the_band_has_is_found_exactly() -> None:
    columns, losses = learnable()
    refined, changes = refine(RECIPE, columns, losses, Settings(band=share_between(losses)))
    lengths = [each for each in columns["text_len"] if 100 <= each <= 700]
    assert refined["process"][1] == {"text_length_filter": {"min_len": min(lengths), "max_len": max(lengths)}}
    assert changes[0].gone_before == 1000 - sum(each >= 1 for each in columns["text_len"])
    assert changes[0].gone_after == sum(each < 100 for each in columns["text_len"])
    assert changes[1].gone_after == sum(each > 700 for each in columns["text_len"])


def test_what_says_nothing_is_left_alone_and_told() -> None:
    columns, losses = learnable()
    refined, changes = refine(RECIPE, columns, losses, Settings(band=share_between(losses)))
    assert refined["process"][2:] == RECIPE["process"][2:]
    assert refined["np"] == 2
    assert [change.reason.partition(":")[0] for change in changes[2:]] == ["unrelated to the band"] * 3
    assert all(change.gone_after == change.gone_before == 0 for change in changes[2:4])


def test_noise_moves_the_bounds_a_little_only() -> None:
    columns, losses = learnable(2000, noise=0.3)
    refined, _ = refine(RECIPE, columns, losses, Settings(band=share_between(losses)))
    found = refined["process"][1]["text_length_filter"]
    assert abs(found["min_len"] - 100) < 30
    assert abs(found["max_len"] - 700) < 30


def test_a_bound_that_the_recipe_does_not_name_is_not_set() -> None:
    columns, losses = learnable()
    recipe = {"process": [{"text_length_filter": {"max_len": 10_000}}]}
    refined, _ = refine(recipe, columns, losses, Settings(band=share_between(losses), coverage=0.5))
    assert list(refined["process"][0]["text_length_filter"]) == ["max_len"]
    assert 690 <= refined["process"][0]["text_length_filter"]["max_len"] <= 700


def test_an_end_at_the_end_of_the_data_leaves_a_bound_where_it_excludes_nothing() -> None:
    values = [float(each) for each in range(200)]
    losses: list[float | None] = list(values)
    recipe = {"process": [{"text_length_filter": {"min_len": 0, "max_len": 10_000}}]}
    refined, changes = refine(recipe, {"text_len": values}, losses, Settings(band=(0.0, 0.5)))
    assert refined["process"][0]["text_length_filter"] == {"min_len": 0, "max_len": 99}
    assert changes[0].reason == "excludes no sample, and the data give no reason to move it"


@pytest.mark.parametrize("count", [5, 20, 200])
def test_chance_rarely_moves_a_bound(count: int) -> None:
    moved = 0
    for seed in range(200):
        draw = random.Random(seed)
        values: list[float | None] = [draw.random() for _ in range(count)]
        interval, reason = fit(values, band_of([draw.random() for _ in range(count)], (0.2, 0.8)))
        assert (interval is None) == bool(reason)
        moved += interval is not None
    assert moved <= 6


def test_few_samples_and_ties_are_no_ground_to_move_a_bound() -> None:
    few, reason = fit([1.0, 2.0, 3.0], [True, False, True])
    assert few is None
    assert reason == "2 samples in the band and 1 outside it are too few"
    tied, reason = fit([1.0] * 100, [each % 2 == 0 for each in range(100)])
    assert tied is None
    assert "unrelated" in reason


def test_samples_without_a_measure_or_a_value_take_no_part() -> None:
    columns, losses = learnable()
    band = share_between(losses)
    expected, _ = refine(RECIPE, columns, losses, Settings(band=band))
    columns = {name: [*values, None, *values] for name, values in columns.items()}
    assert refine(RECIPE, columns, [*losses, 1.5, *[None] * len(losses)], Settings(band=band))[0] == expected


def test_the_coverage_holds_where_the_best_interval_would_keep_less() -> None:
    draw = random.Random(3)
    # Half of the band is where nothing else is, half of it spread among the rest.
    values: list[float | None] = [draw.uniform(0.0, 0.1) if place % 4 == 0 else draw.random() for place in range(2000)]
    in_band = [place % 2 == 0 for place in range(2000)]
    loose, _ = fit(values, in_band, Settings(coverage=0.0))
    tight, _ = fit(values, in_band, Settings(coverage=0.9))
    assert loose is not None
    assert tight is not None
    assert loose.kept < 0.7
    assert tight.kept >= 0.9
    assert loose.j >= tight.j
    assert tight.low <= loose.low
    assert tight.high >= loose.high


SAMPLES = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=24)


@settings(max_examples=300)
@given(SAMPLES, st.sampled_from([(True, True), (True, False), (False, True)]), st.floats(0, 1))
def test_no_other_interval_is_better(samples: list[tuple[int, bool]], sides: tuple[bool, bool], weight: float) -> None:
    groups = [
        Interval(value, value, float(sum(s == (value, True) for s in samples)), float(samples.count((value, False))))
        for value in sorted({value for value, _ in samples})
    ]
    found = best_interval(groups, weight, *sides)
    assert found.low == groups[0].low or sides[0]
    assert found.high == groups[-1].high or sides[1]
    starts = range(len(groups)) if sides[0] else [0]
    for start in starts:
        for end in range(start, len(groups)) if sides[1] else [len(groups) - 1]:
            run = groups[start : end + 1]
            other = sum(each.kept for each in run) - weight * sum(each.rest for each in run)
            assert other <= found.kept - weight * found.rest + 1e-9


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 10)), min_size=1, max_size=120))
def test_refined_recipes_keep_their_form(samples: list[tuple[int, float]]) -> None:
    lengths, losses = [each for each, _ in samples], [each for _, each in samples]
    refined, changes = refine(RECIPE, {"text_len": lengths}, losses)
    found = refined["process"][1]["text_length_filter"]
    assert set(found) == {"min_len", "max_len"}
    assert all(type(value) is int for value in found.values())
    assert found["min_len"] <= found["max_len"]
    assert len(changes) == 5
    assert all(change.reason for change in changes if change.before == change.after and not change.statistic)


def test_many_values_are_put_together_and_still_right() -> None:
    draw = random.Random(1)
    values: list[float | None] = [draw.random() for _ in range(20_000)]
    in_band = [0.25 <= (value or 0) <= 0.75 for value in values]
    found, _ = fit(values, in_band)
    assert found is not None
    assert found.low == pytest.approx(0.25, abs=0.002)
    assert found.high == pytest.approx(0.75, abs=0.002)


def test_chance_is_what_the_tests_of_smirnov_and_kuiper_say() -> None:
    assert chance(0.0, 50, 50, True) == chance(-0.1, 50, 50, False) == 1.0
    assert chance(0.4, 50, 50, False) == pytest.approx(0.000335, rel=0.01)
    assert chance(1.747 / 5, 50, 50, True) == pytest.approx(0.05, rel=0.02)  # Kuiper's 5 % point is 1.747


# --- the component ---


def config(tmp_path: Path, **more: Any) -> Config:
    columns, losses = learnable(300)
    path = tmp_path / "analysed.jsonl"
    rows = [
        {"loss": loss, "__dj__stats__": {name: values[place] for name, values in columns.items()}}
        for place, loss in enumerate(losses)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = tmp_path / "scores.jsonl"
    scores.write_text("".join(json.dumps({"scores": {"loss": loss}}) + "\n" for loss in losses))
    given = {
        "recipe": RECIPE,
        "path_model_feedback_recipe": str(tmp_path / "new" / "recipe.json"),
        "dataset_path": str(path),
        "measure_key": "loss",
        "band": list(share_between(losses)),
    }
    return Config({**given, **more})


def test_the_refined_recipe_is_written_and_every_bound_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = FeedbackRefiner(config(tmp_path)).run()
    written = json.loads(Path(result["path"]).read_text())
    assert [change["parameter"] for change in result["changes"]] == ["min_len", "max_len"]
    assert written["process"][1]["text_length_filter"]["min_len"] == result["changes"][0]["after"]
    assert len(result["bounds"]) == 5
    assert "unrelated to the band" in capsys.readouterr().out


def test_the_measures_may_be_in_a_file_of_their_own(tmp_path: Path) -> None:
    own = FeedbackRefiner(config(tmp_path)).run()
    beside = config(tmp_path, measure_path=str(tmp_path / "scores.jsonl"), measure_key="scores.loss")
    assert FeedbackRefiner(beside).run() == own
    analysis = {"files": {"dataset": beside["dataset_path"]}}
    assert FeedbackRefiner(Config({**beside, "dataset_path": None, "analysis": analysis})).run() == own
    scores = tmp_path / "scores.jsonl"
    scores.write_text(scores.read_text() * 2)
    with pytest.raises(ComponentFailed, match=r"analysed\.jsonl ends after 300 samples, .*scores\.jsonl has more"):
        FeedbackRefiner(Config({**beside, "band": [0.2, 0.8]})).run()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"measure_key": None}, "measure_key: missing"),
        ({"measure_key": "perplexity"}, "no sample of .* has a number at 'perplexity'"),
        ({"dataset_path": None}, "dataset_path: missing"),
        ({"dataset_path": "absent.jsonl"}, r"dataset_path: absent\.jsonl is not a file"),
        ({"measure_path": "absent.jsonl"}, r"measure_path: absent\.jsonl is not a file"),
        ({"band": [0.8, 0.2]}, "band: must be two quantiles"),
        ({"band": 0.5}, "band: must be two quantiles"),
        ({"coverage": 2}, "coverage: must be a share"),
        ({"significance": "small"}, "significance: must be a share"),
        ({"path_model_feedback_recipe": "recipe.txt"}, r"path_model_feedback_recipe: must be the path of a \.yaml"),
    ],
)
def test_a_config_that_fits_no_data_is_told(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    refiner = FeedbackRefiner(config(tmp_path, **settings))
    with pytest.raises(ConfigError, match=message):
        refiner.run()


def test_a_dataset_without_statistics_is_told(tmp_path: Path) -> None:
    refiner = FeedbackRefiner(config(tmp_path, dataset_path=str(tmp_path / "scores.jsonl")))
    with pytest.raises(ConfigError, match="has statistics; compute them with ProbeViaAnalyzerHook"):
        refiner.run()
