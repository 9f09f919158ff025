"""The rate-limited log: one line of each kind a minute, and how many were left out."""

from __future__ import annotations

import pytest

from sandbox_actors.transport.rate_limited_log import PAUSE, RateLimitedLog


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_of_a_thousand_messages_of_one_kind_one_is_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    limited = RateLimitedLog(clock)
    for number in range(1_000):
        limited.warn("full", f"refused {number}")
        clock.now += PAUSE / 2_000
    assert messages(caplog) == ["refused 0"]
    assert caplog.records[0].levelname == "WARNING"


def test_the_next_line_after_the_pause_counts_those_that_were_left_out(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    limited = RateLimitedLog(clock)
    for number in range(4):
        limited.warn("full", f"refused {number}")
    clock.now += PAUSE - 0.001
    limited.warn("full", "refused just before the pause is over")
    clock.now += 0.001
    limited.warn("full", "refused again")
    clock.now += PAUSE
    limited.warn("full", "refused later")
    assert messages(caplog) == ["refused 0", "refused again (4 similar messages were left out)", "refused later"]


def test_kinds_are_limited_separately(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    limited = RateLimitedLog(clock)
    for kind in ("full", "stranger", "full", "stranger"):
        limited.warn(kind, kind)
    assert messages(caplog) == ["full", "stranger"]


def test_a_percent_sign_in_a_message_is_kept(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    RateLimitedLog(clock).warn("protocol", "100 %s of it")
    assert messages(caplog) == ["100 %s of it"]
