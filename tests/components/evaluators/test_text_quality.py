"""What is measured of texts, in the real env: the figures of known texts, and what a recipe says of them."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from components.data.corpus import paragraphs
from components.evaluators.duplicates import bands
from components.evaluators.text_quality import entropy
from tests.components.conftest import ComponentProcess, Start

WORDS = [f"word{number}" for number in range(400)]


@pytest.fixture(scope="module")
def quality(start_component: Start) -> ComponentProcess:
    return start_component("data-juicer", "components.evaluators.text_quality:TextQuality")


def write(path: Path, texts: list[Any]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def measured(quality: ComponentProcess, path: Any, **settings: Any) -> dict[str, float]:
    ran = quality.run({"dataset_path": path, **settings}, "data")
    assert ran.error is None, ran.log
    found: dict[str, float] = ran.result
    return found


def test_entropy_is_in_bits() -> None:
    assert entropy(Counter("abcd")) == 2.0
    assert entropy(Counter("aaaa")) == 0.0
    assert entropy(Counter({"a": 1, "b": 3})) == pytest.approx(2 - 0.75 * math.log2(3))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_pairs_as_similar_as_the_threshold_are_hardly_missed(threshold: float) -> None:
    count, rows = bands(threshold)
    assert count * rows <= 128
    assert 1 - (1 - threshold**rows) ** count >= 0.98
    assert 1 - (1 - (threshold / 2) ** rows) ** count < 0.98


def test_the_figures_are_those_of_the_texts(quality: ComponentProcess, tmp_path: Path) -> None:
    found = measured(quality, write(tmp_path / "x.jsonl", ["ab ab", "abcd", "  ", None, "ab ab"]))
    assert {name: round(value, 6) for name, value in found.items() if name != "compression"} == {
        "samples": 5,
        "empty": 0.4,
        "chars_mean": 4.666667,
        "chars_p10": 4.2,
        "chars_p50": 5.0,
        "chars_p90": 5.0,
        "words_mean": 1.666667,
        "char_entropy": round(entropy(Counter("ab ababcdab ab")), 6),
        "word_entropy": round(entropy(Counter({"ab": 4, "abcd": 1})), 6),
        "exact_duplicates": 0.333333,
        "near_duplicates": 0.333333,
    }


def test_near_duplicates_are_found_and_others_are_not(quality: ComponentProcess, tmp_path: Path) -> None:
    first, other = " ".join(WORDS[:200]), " ".join(WORDS[200:])
    near = " ".join([*WORDS[:100], "changed", *WORDS[101:200]])  # 191 of 201 shingles are shared
    half = " ".join([*WORDS[:100], *WORDS[300:]])
    short = ["one two", "One  two", "one three"]
    path = write(tmp_path / "x.jsonl", [first, near, other, half, *short])
    found = measured(quality, path)
    assert found["exact_duplicates"] == 0
    assert found["near_duplicates"] == pytest.approx(2 / 7)
    assert measured(quality, path, near_duplicate=0.999)["near_duplicates"] == pytest.approx(1 / 7)
    assert "near_duplicates" not in measured(quality, path, near_duplicate=False)


def test_repetition_shows_in_the_compression_and_prose_lies_where_it_is_said_to(
    quality: ComponentProcess, tmp_path: Path
) -> None:
    prose = [each.text for each in paragraphs() if "/" not in each.source][:400]
    found = measured(quality, write(tmp_path / "prose.jsonl", prose))
    assert 0.25 < found["compression"] < 0.45
    assert 4.0 < found["char_entropy"] < 5.0
    again = measured(quality, write(tmp_path / "again.jsonl", [text for text in prose for _ in range(4)]))
    assert again["compression"] < 0.5 * found["compression"]
    assert again["exact_duplicates"] > 0.75
    assert again["char_entropy"] == pytest.approx(found["char_entropy"])


def test_a_recipe_says_what_share_it_would_keep(quality: ComponentProcess, tmp_path: Path) -> None:
    paths = [write(tmp_path / "x.jsonl", ["a" * length for length in range(1, 9)]), write(tmp_path / "y.jsonl", ["a"])]
    recipe = {"process": [{"text_length_filter": {"min_len": 3, "max_len": 5}}]}
    found = measured(quality, paths, recipe=recipe)
    assert found["recipe_kept"] == pytest.approx(3 / 9)
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    assert measured(quality, paths, recipe=str(tmp_path / "recipe.yaml")) == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"near_duplicate": 2}, "near_duplicate: must be a similarity above 0 and up to 1, or false"),
        ({"recipe": {"process": []}}, "recipe: has no operators"),
        ({"recipe": "absent.yaml"}, "recipe: cannot be read"),
        ({"text_key": "absent"}, "none of the 1 samples has text"),
        ({"dataset_path": "absent.jsonl"}, "dataset_path: absent.jsonl is not a file"),
        ({"text_key": "text.0"}, "none of the 1 samples has text"),
    ],
)
def test_what_cannot_be_measured_is_told(
    quality: ComponentProcess, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    ran = quality.run({"dataset_path": write(tmp_path / "x.jsonl", ["text"]), **settings}, "data")
    assert ran.error is not None
    assert message in ran.error
