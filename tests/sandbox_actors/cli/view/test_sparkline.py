"""Series drawn with characters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_actors.cli.view.sparkline import BLOCKS, plot, resample, sparkline


def test_the_highest_value_is_the_highest_block_and_the_lowest_the_lowest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == BLOCKS
    assert sparkline([7, 0], 8) == "█▁"


def test_more_values_than_cells_are_averaged_and_fewer_are_not_stretched() -> None:
    assert sparkline([0, 0, 0, 8, 8, 8], 2) == "▁█"
    assert len(sparkline([1.0, 2.0], 20)) == 2


def test_a_constant_series_is_drawn_in_the_middle_and_an_empty_one_not_at_all() -> None:
    assert sparkline([3, 3, 3], 3) == "▅▅▅"
    assert sparkline([], 5) == ""


def test_values_that_are_not_finite_leave_a_gap() -> None:
    assert sparkline([1, math.nan, math.inf, 2], 4) == "▁  █"
    assert sparkline([math.nan], 1) == " "


def test_a_falling_series_is_plotted_from_the_top_left_to_the_bottom_right() -> None:
    lines = plot([3.0, 2.0, 1.0, 0.0], 2, 1)
    assert lines == ["⠑⢄"]
    tall = plot([float(-each) for each in range(100)], 10, 4)
    assert tall[0][0] != "⠀"
    assert tall[0][-1] == "⠀" == tall[-1][0]
    assert tall[-1][-1] != "⠀"


def test_a_plot_connects_adjacent_values_and_breaks_at_gaps() -> None:
    assert plot([1.0, 0.0], 1, 2) == ["⢱", "⢸"]
    assert plot([0.0, math.nan, 1.0, math.nan], 2, 2) == ["⠀⠁", "⡀⠀"]
    assert plot([math.nan] * 4, 2, 2) == ["⠀⠀", "⠀⠀"]


@pytest.mark.parametrize("count", [1, 2, 5, 7, 50])
def test_resampling_keeps_the_ends_of_a_straight_line(count: int) -> None:
    values = [float(each) for each in range(7)]
    line = resample(values, count)
    assert len(line) == count
    assert line == sorted(line)
    if count >= 7:
        assert (line[0], line[-1]) == (0.0, 6.0)


def test_the_largest_numbers_can_be_drawn() -> None:
    assert sparkline([1.7e308, 1.7e308, -1.7e308, -1.7e308], 2) == "█▁"


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40), st.integers(1, 30))
def test_any_series_can_be_drawn(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(width, len(values))
    assert all(len(line) == width for line in plot(values, width, 3))
