"""The log watcher of a run: leased beside the run's actor, told when the log ends, and answered for.

What goes wrong here costs metrics, which the log says; never the run.
"""

from __future__ import annotations

from pathlib import Path

import trio

from sandbox_actors.errors import ComponentFailed, SandboxError
from sandbox_actors.messages import EndLog, Followed, FollowLog, Run
from sandbox_actors.pool import Lease, Pool, Wanted

START_DELAY = 0.02
"""Seconds in which a run may end without having cost a log watcher, if it has written nothing."""


class LogWatching:
    """Watches the log of one run. `wanted` is what the run itself is leased with."""

    def __init__(self, pool: Pool, run: Run, wanted: Wanted) -> None:
        self._pool, self._run = pool, run
        self._task = FollowLog(run=run.run, component=run.component, config=run.config, cwd=run.cwd, log=run.log)
        self._wanted = Wanted(
            label=f"{wanted.label}-log",
            component=wanted.component,
            env=wanted.env,
            model_key="",
            cpus=0,
            keep_alive=wanted.keep_alive,
            code=wanted.code,
        )

    async def follow(self, ended: trio.Event) -> None:
        """Follow until `ended`, when nobody writes to the log any more, and then to its last line."""
        with trio.move_on_after(START_DELAY):
            await ended.wait()
        if ended.is_set() and not Path(self._run.log).stat().st_size:
            return
        try:
            async with self._pool.lease(self._wanted) as lease:
                lease.actor.job = f"follows run {self._run.run}"
                followed = await self._until_end(lease, ended)
            if followed.errors:
                raise ComponentFailed(f"_watch_run raised at {followed.errors} lines; first:\n{followed.first_error}")
        except SandboxError as error:
            note = f"\n[sandbox] metrics of this run are missing: its log watcher failed: {error}\n"
            await trio.to_thread.run_sync(_append, Path(self._run.log), note)

    async def _until_end(self, lease: Lease, ended: trio.Event) -> Followed:
        failure: SandboxError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_log, lease, ended)
            try:
                followed = await lease.peer.ask_for(self._task, Followed)
            except SandboxError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return followed

    async def _end_log(self, lease: Lease, ended: trio.Event) -> None:
        await ended.wait()
        await lease.peer.tell(EndLog(run=self._task.run))


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
