"""The log watcher of a run: leased beside the run's actor, replaced when it dies, notified when the log ends.

What goes wrong here costs metrics, never the run, and is written into the log. A log watcher that replaces another one
continues at the position that the store has, so that every line counts once, whichever process dies: log watcher, run,
or the daemon itself.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import trio

from sandbox_actors.actors.component_actor import ActorNeeds, Lease
from sandbox_actors.actors.pool import Pool
from sandbox_actors.errors import ComponentFailed, SandboxError, WorkerLost
from sandbox_actors.protocol.worker_requests import EndLog, Followed, FollowLog, Ping, Run
from sandbox_actors.store.watcher import SandboxWatcher

START_DELAY = 0.02
"""Seconds in which a run may end without having cost a log watcher, if it has written nothing."""

LAST_LINES = 300.0
"""Seconds that a log watcher has to read the rest of the log after its run has ended."""

PING = 1.0
SILENCE = 8
"""Seconds between two looks at whether a log watcher answers, and how many in a row may find that it has not."""

REPLACEMENTS = 5
REPLACEMENTS_SECONDS = 60.0
"""The most log watchers of one run that may die in that many seconds."""

_threads = trio.CapacityLimiter(4)


class LogWatching:
    """Watches the log of one run, of experiment `experiment`. `needs` is what the run itself is leased with.

    To be awaited in this order: `begin` before the run is asked for, `follow` beside it. For a run that an earlier
    daemon started, both continue where they were.
    """

    def __init__(self, pool: Pool, watcher: SandboxWatcher, experiment: str, run: Run, needs: ActorNeeds) -> None:
        self._pool, self._watcher, self._experiment, self._run = pool, watcher, experiment, run
        self._needs = replace(needs, label=f"{needs.label}-log", model_key="", cpus=0, gpus=None, is_log_watcher=True)
        self._deaths: deque[float] = deque(maxlen=REPLACEMENTS)
        self._begin = 0

    async def begin(self) -> None:
        """Record where in its log the run starts: earlier attempts and calls of the job may have written there."""
        self._begin, _ = await self._watcher.begin_log(self._experiment, self._run.run, self._size())

    async def follow(self, ended: trio.Event) -> None:
        """Follow until `ended`, when no process writes to the log any more, and then to its last line."""
        with trio.move_on_after(START_DELAY):
            await ended.wait()
        if ended.is_set() and self._size() == self._begin:
            return
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._limit, ended)
                await self._follow(ended)
                nursery.cancel_scope.cancel()
        except* SandboxError as group:
            note = "".join(f"\n[sandbox] metrics of this run are missing: {error}\n" for error in group.exceptions)
            await trio.to_thread.run_sync(_append, Path(self._run.log), note, limiter=_threads)

    async def _follow(self, ended: trio.Event) -> None:
        """Have one log watcher after the other follow, until one has reached the end. Raises SandboxError."""
        while True:
            try:
                followed = await self._follow_once(ended)
            except WorkerLost as error:
                self._count_death(error)
            else:
                break
        if wrong := _wrong(followed):
            raise ComponentFailed(wrong)

    async def _follow_once(self, ended: trio.Event) -> Followed:
        async with self._pool.lease(self._needs) as lease:
            lease.actor.job = f"follows run {self._run.run}"
            return await self._until_end(lease, await self._task(), ended)

    async def _task(self) -> FollowLog:
        run = self._run
        begin, reported = await self._watcher.begin_log(self._experiment, run.run, self._begin)
        return FollowLog(
            run=run.run,
            component=run.component,
            config=run.config,
            cwd=run.cwd,
            log=run.log,
            begin=begin,
            reported=reported,
        )

    def _count_death(self, error: WorkerLost) -> None:
        """Raises WorkerLost where too many have died to try another one."""
        now = time.monotonic()
        if len(self._deaths) == REPLACEMENTS and now - self._deaths[0] < REPLACEMENTS_SECONDS:
            text = (
                f"{REPLACEMENTS + 1} log watchers ended within {REPLACEMENTS_SECONDS:g} seconds; the last one: {error}"
            )
            raise WorkerLost(text) from error
        self._deaths.append(now)

    async def _until_end(self, lease: Lease, task: FollowLog, ended: trio.Event) -> Followed:
        failure: SandboxError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_log, lease, ended)
            nursery.start_soon(self._keep_alive, lease)
            try:
                followed = await lease.ask(task)
            except SandboxError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return followed

    async def _end_log(self, lease: Lease, ended: trio.Event) -> None:
        await ended.wait()
        try:
            await lease.peer.tell(EndLog(run=self._run.run))
        except SandboxError:
            return  # it has died: the ask that waits for its answer raises

    async def _keep_alive(self, lease: Lease) -> None:
        """Kill a log watcher that is stopped, or stuck in C code. Time in which this process itself stood still counts
        as one look."""
        silent = 0
        answered = trio.Event()
        answered.set()
        async with trio.open_nursery() as nursery:
            while silent < SILENCE:
                silent = 0 if answered.is_set() else silent + 1
                if answered.is_set():
                    answered = trio.Event()
                    nursery.start_soon(self._ping, lease, answered)
                await trio.sleep(PING)
            lease.actor.process.signal(signal.SIGKILL)
            nursery.cancel_scope.cancel()

    async def _ping(self, lease: Lease, answered: trio.Event) -> None:
        try:
            await lease.peer.ask(Ping())
        except SandboxError:
            return  # as above
        answered.set()

    async def _limit(self, ended: trio.Event) -> None:
        await ended.wait()
        await trio.sleep(LAST_LINES)
        raise WorkerLost(f"its log watcher had not read the whole log {LAST_LINES:g} seconds after the run's end")

    def _size(self) -> int:
        return os.stat(self._run.log).st_size


def _wrong(followed: Followed) -> str:
    """What went wrong in the component's `_watch_run`."""
    lines = []
    if followed.slow:
        rest = ", and was given no more lines" if followed.is_given_up else ""
        lines.append(f"_watch_run took too long at {followed.slow} lines{rest}; first:\n{followed.first_slow}")
    if followed.errors:
        lines.append(f"_watch_run raised at {followed.errors} lines; first:\n{followed.first_error}")
    return "\n".join(lines)


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
