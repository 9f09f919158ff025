"""How fast an API may be asked: decided without asking one."""

from __future__ import annotations

import math
import random

import pytest

from components.inference.rate_control import Pace, asked_wait, backoff, seconds

WEDNESDAY = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1s", 1), ("20ms", 0.02), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("7.25", 7.25), ("soon", None), ("", None)],
)
def test_durations_are_read_as_rate_limit_headers_write_them(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT"}, 10),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT"}, 0),
        ({"retry-after": "never"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"}, 62),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "8ms", "retry-after": "1"}, 1),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1m"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "9"}, 9),
    ],
)
def test_the_longest_wait_that_is_asked_for_counts(headers: dict[str, str], expected: float | None) -> None:
    assert asked_wait(headers, WEDNESDAY) == expected


def test_the_backoff_doubles_up_to_a_limit_and_at_most_half_of_it_is_chance() -> None:
    chance = random.Random(1)
    for attempt, whole in ((1, 2), (2, 4), (3, 8), (4, 10), (50, 10)):
        waits = [backoff(attempt, 2, 10, chance) for _ in range(100)]
        assert whole / 2 <= min(waits) < whole * 0.6
        assert whole * 0.9 < max(waits) <= whole


def test_a_refusal_halves_the_requests_in_flight_and_answers_restore_them() -> None:
    pace = Pace(8)
    assert pace.delay(now=0, in_flight=7) == 0
    assert pace.delay(now=0, in_flight=8) == math.inf
    pace.throttled(now=0, wait=5)
    pace.throttled(now=1, wait=5)
    assert pace.limit == 4, "those that are refused together count once"
    assert pace.delay(now=2, in_flight=0) == 4
    assert pace.delay(now=6, in_flight=3) == 0
    assert pace.delay(now=6, in_flight=4) == math.inf
    for now in (10, 20, 30, 40):
        pace.throttled(now, wait=1)
    assert pace.limit == 1
    for _ in range(60):
        pace.succeeded()
    assert pace.limit == 8
