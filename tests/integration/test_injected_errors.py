"""An error at any await of the daemon takes no training down.

While an innocent training runs, each point of `injecting.py` is made to raise, in the course of something that reaches
it (`disturbing.py`). Whatever becomes of that: the training's worker is the same, no metric is lost or doubled, this
daemon or the next one serves as before, nothing is left that nobody owns, and in the end the training has one result.

By default a sample of the points is tested; with SANDBOX_INJECTIONS=all, each of them, before and after it awaits.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import pytest

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import listener
from sandbox_actors.errors import ComponentFailed, DaemonUnreachable, SandboxError, StoreError

from .conftest import Sandbox
from .disturbing import ACTIVITIES, DEADLINE, POINTS, Activity, Disturbed, Innocent, Raised, returns, until, waiting
from .impatient import Unanswered
from .injecting import ERRORS, SIDES, Point, Side, store_error

IS_LONG = os.environ.get("SANDBOX_INJECTIONS") == "all"
OWN_STEP, STEP, END_STEP, START_STEP = (1, 1, 1, 1) if IS_LONG else (3, 31, 23, 15)
"""One case in so many is tried: of those that the innocent reaches by itself, that others reach, at its end, and when a
daemon starts. Odd, so that both sides have their turn."""

LEASING = {"Pool._leased", "Actor.ask", "Actor._put", "Actor._handle", "Actor.on_receive"}
"""An actor whose lease is lost on its way from the pool, or back, stays leased to nobody, until it is stopped by name
or the daemon ends: an error here may cost that, and nothing else."""


@dataclass(frozen=True)
class Case:
    point: Point
    side: Side
    error: int

    def __str__(self) -> str:
        return f"{ERRORS[self.error]()!r} {self.side} {self.point}"


def cases_of(points: set[int]) -> list[Case]:
    """Both sides of each point, and one error after the other. What raised StoreError has not happened: the store
    promises that, so that it is no error `after` a point."""
    sides = [(POINTS[number], side) for number in sorted(points) for side in SIDES]
    kinds = {"before": len(ERRORS), "after": ERRORS.index(store_error)}
    return [Case(point, side, (i + i // 4) % kinds[side]) for i, (point, side) in enumerate(sides)]


@pytest.fixture
def place(unserved: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Disturbed:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    unserved.environ["SANDBOX_RETRY_DELAY"] = "0.001"
    return Disturbed(unserved)


class Trial:
    """What the cases of one test came to."""

    def __init__(self, place: Disturbed) -> None:
        self._place = place
        self._broken: list[str] = []
        self._raised = self._tried = 0

    def attempt(self, case: Case, act: Callable[[], None]) -> bool:
        """Let `act` reach the point. Whether all is well afterwards."""
        place = self._place
        self._tried += 1
        place.control.arm(case.point.number, case.side, case.error)
        place.leaked.clear()
        try:
            act()
            assert not place.leaked or case.point.function in LEASING, f"in use for nobody: {place.leaked}"
        except Exception as error:
            self._broken.append(f"{case}: {type(error).__name__}: {error}")
            print("BROKEN", self._broken[-1])
            place.renew()
            return False
        self._raised += place.control.has_raised
        return True

    def end(self) -> None:
        place = self._place
        place.control.disarm()
        assert not self._broken, f"{len(self._broken)} of {self._tried} broke:\n" + "\n\n".join(self._broken)
        assert self._raised > 0.8 * self._tried, "most points must be reached"
        place.on_this_or_the_next_daemon(lambda client: place.assert_serves(client))


def test_at_any_await_while_it_trains(place: Disturbed) -> None:
    with place.client() as client:
        innocent = Innocent(place, client)
    cases = reached_by_activities(place, innocent)
    trial = Trial(place)
    for case, activity in cases:
        if not trial.attempt(case, partial(disturb, place, innocent, activity)):
            with place.client() as client:
                innocent = Innocent(place, client)
    place.control.disarm()
    end(place, innocent)
    trial.end()


def reached_by_activities(place: Disturbed, innocent: Innocent) -> list[tuple[Case, Activity]]:
    """Each point with the first activity that reaches it: those that the innocent reaches by itself, and a sample."""
    own: list[tuple[Case, Activity]] = []
    others: list[tuple[Case, Activity]] = []
    known: set[int] = set()
    place.control.take_reached()
    with place.client() as client:
        for activity in ACTIVITIES:
            activity(place, client, innocent)
            reached = place.control.take_reached() - known
            known |= reached
            (own if activity is waiting else others).extend((case, activity) for case in cases_of(reached))
    return own[::OWN_STEP] + others[::STEP]


def disturb(place: Disturbed, innocent: Innocent, activity: Activity) -> None:
    try:
        with suppress(Raised, SandboxError), place.client() as client:
            activity(place, client, innocent)
    except Unanswered:
        raise
    except AssertionError:
        if not place.control.has_raised:
            raise
    if place.control.has_raised:
        place.on_this_or_the_next_daemon(partial(check, place, innocent))


def check(place: Disturbed, innocent: Innocent, client: Client) -> None:
    place.assert_serves(client, innocent.id)
    innocent.assert_undisturbed(client)


def test_at_any_await_of_a_daemon_that_adopts_it(place: Disturbed) -> None:
    with place.client() as client:
        innocent = Innocent(place, client)
    trial = Trial(place)
    place.on_this_or_the_next_daemon(partial(check, place, innocent))
    known = place.control.take_reached()
    leave(place, innocent)
    place.control.take_reached()
    restart(place, innocent)
    for case in cases_of(place.control.take_reached() - known)[::START_STEP]:
        leave(place, innocent)
        if not trial.attempt(case, partial(restart, place, innocent)):
            with place.client() as client:
                innocent = Innocent(place, client)
    place.control.disarm()
    end(place, innocent)
    trial.end()


def leave(place: Disturbed, innocent: Innocent) -> None:
    """Kill the daemon while others run and wait."""
    place.control.disarm()
    with place.client() as client:
        other = place.submit(client, place.endless())
        place.submit(client, returns("job"), work_dir=innocent.work_dir)
        until(lambda: client.metrics(other, "printed"), "it does not start")
    place.sandbox.kill()


def restart(place: Disturbed, innocent: Innocent) -> None:
    """Start the next daemon, or the one after it; all is taken up."""
    place.start()
    if listener(place.sandbox.paths.socket) is None:
        place.start_next()
    place.on_this_or_the_next_daemon(partial(check, place, innocent))


@pytest.mark.filterwarnings("ignore:the daemon .* has died")
def test_at_any_await_while_it_ends(place: Disturbed) -> None:
    trial = Trial(place)
    with place.client() as client:
        innocent = Innocent(place, client)
    place.control.take_reached()
    innocent.gate.touch()
    follow_to_the_end(place, innocent)
    for case in cases_of(place.control.take_reached())[::END_STEP]:
        place.control.disarm()
        with place.client() as client:
            innocent = Innocent(place, client)
        trial.attempt(case, partial(end, place, innocent))
    trial.end()


def end(place: Disturbed, innocent: Innocent) -> None:
    innocent.gate.touch()
    follow_to_the_end(place, innocent)

    def check_end(client: Client) -> None:
        innocent.assert_complete(client)
        place.assert_serves(client)

    place.on_this_or_the_next_daemon(check_end)


def follow_to_the_end(place: Disturbed, innocent: Innocent) -> None:
    """As `sandbox watch`, which starts the next daemon where this one ends. That is then replaced by one of ours."""
    errors: list[BaseException] = []

    def follow() -> None:
        try:
            try:
                with Client(place.sandbox.paths, autostart=True) as client:
                    client.wait(innocent.id)
            except (ComponentFailed, StoreError, DaemonUnreachable):  # its own request or connection has met the error
                with Client(place.sandbox.paths, autostart=True) as client:
                    client.wait(innocent.id)
        except BaseException as error:
            errors.append(error)

    following = threading.Thread(target=follow, daemon=True)
    following.start()
    following.join(2 * DEADLINE)
    assert not following.is_alive(), "a client that follows does not learn of the end"
    assert not errors, f"a client that follows ends with {errors[0]!r}"
    assert place.sandbox.daemon is not None
    serving = listener(place.sandbox.paths.socket)
    if serving not in (None, place.sandbox.daemon.pid):
        place.sandbox.daemon.wait(DEADLINE)
        os.kill(serving, signal.SIGKILL)
        until(lambda: listener(place.sandbox.paths.socket) is None, "it does not end")
        place.start_next()
