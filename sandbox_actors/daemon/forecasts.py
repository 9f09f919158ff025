"""What an experiment would run with what is warm now; nothing is submitted."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import trio

from sandbox_actors.actors.environments import Environments
from sandbox_actors.actors.pool import Pool
from sandbox_actors.errors import EnvError
from sandbox_actors.experiment.model import thaw
from sandbox_actors.hooks.dry_run import dry_run
from sandbox_actors.jobs.actor_request import ActorRequests
from sandbox_actors.jobs.capacity import Resources
from sandbox_actors.jobs.job_runner import find_warm
from sandbox_actors.protocol.rows import PlannedJob


class Forecasts:
    def __init__(self, environments: Environments, pool: Pool, resources: Resources) -> None:
        self._environments, self._pool, self._resources = environments, pool, resources

    async def forecast(self, definition: Any, cwd: str) -> list[PlannedJob]:
        """The jobs of an experiment in their order, with what of each would be warm. Raises ConfigError."""
        experiment = await trio.to_thread.run_sync(thaw, definition)
        requests = ActorRequests(self._environments, self._resources.cpus.total, experiment, cwd)
        rows = []
        for each in await trio.to_thread.run_sync(lambda: list(dry_run(experiment, cwd))):
            warm: bool | None = False
            if each.call is not None:
                with suppress(EnvError):
                    warm = await find_warm(
                        requests, self._pool, self._resources, each.job, each.call, each.has_unknown_model
                    )
            rows.append(msgspec.structs.replace(each.row, warm=warm))
        return rows
