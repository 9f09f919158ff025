"""Durations and amounts of memory as people write them."""

from __future__ import annotations

import math

import pytest

from sandbox_actors.experiment_file.quantities import FOREVER, parse_bytes, parse_duration, parse_keep_alive


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("30m", 1800.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("1 h 30 min", 5400.0),
        ("250ms", 0.25),
        ("1d", 86400.0),
        ("0", 0.0),
        ("1.5H", 5400.0),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_text_with_units(text: float | str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "soon", "30 parsecs", "-5", -5, "5m later", math.nan, math.inf, "1h:30m"])
def test_anything_else_is_not_a_duration(text: float | str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|0 or more"):
        parse_duration(text)


def test_keep_alive_can_be_forever() -> None:
    assert [parse_keep_alive(value) for value in ("forever", -1, "30m", 0)] == [FOREVER, FOREVER, 1800.0, 0.0]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1024, 1024),
        ("1024", 1024),
        ("4GB", 4 * 10**9),
        ("4GiB", 4 * 2**30),
        ("4G", 4 * 2**30),
        ("512MB", 512 * 10**6),
        ("1.5k", 1536),
        ("1 TiB", 2**40),
        ("10b", 10),
    ],
)
def test_an_amount_of_memory_is_a_number_of_bytes_or_text_with_a_unit(text: float | str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "4XB", "-1", -1, "4GB 2MB", math.inf])
def test_anything_else_is_not_an_amount_of_memory(text: float | str) -> None:
    with pytest.raises(ValueError, match=r"is not an amount|0 or more"):
        parse_bytes(text)
