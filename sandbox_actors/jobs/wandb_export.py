"""Experiments exported to wandb, by a component actor that reads their metrics as any client does.

Nothing waits for it. What goes wrong is in the daemon's log and in `wandb.log` of the experiment's record.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from envs.specs import load_spec
from sandbox_actors.actors.component_actor import ActorNeeds, Lease
from sandbox_actors.actors.environments import Environments
from sandbox_actors.actors.pool import Pool
from sandbox_actors.errors import WorkerLost
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.experiment.model import Experiment
from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.jobs.actor_request import KEEP_ALIVE
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.protocol.rows import ExperimentRow
from sandbox_actors.protocol.worker_requests import ComponentRef, Run

COMPONENT = ComponentRef(target="components.wandb_exporter:WandbExporter")
LABEL = "wandb-exporter"

FORWARDED = ("WANDB_MODE", "WANDB_DISABLED", "WANDB_PROJECT", "WANDB_NAME", "WANDB_ENTITY", "WANDB_DIR")

MODES = {"dryrun": "offline"}
"""Old names of wandb's modes."""

FINISH_TIMEOUT = 60.0
"""Seconds after an experiment's end in which the rest has to be exported."""

log = logging.getLogger(__name__)

_threads = trio.CapacityLimiter(2)


def forwarded(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a submitter that an export reads, and which are kept with the experiment. No key is among them:
    that is taken from the daemon's own environment."""
    return {name: environ[name] for name in FORWARDED if name in environ}


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the submitter's WANDB_MODE leaves wandb on."""
    return environ.get("WANDB_MODE") != "disabled" and environ.get("WANDB_DISABLED", "").lower() not in ("true", "1")


class WandbExport:
    """Exports experiments, each from its start to its end."""

    def __init__(self, pool: Pool, environments: Environments, runs: DurableRuns) -> None:
        self._pool, self._environments, self._runs = pool, environments, runs

    async def export(
        self, row: ExperimentRow, experiment: Experiment, environ: Mapping[str, str], folder: Path, ended: trio.Event
    ) -> None:
        """Export one experiment, from now to its end. `folder` is its own. Raises nothing."""
        id = RunId.of_export(row.id)
        run = Run(
            run=str(id),
            component=COMPONENT,
            config=_config(row, experiment, environ),
            model_key="",
            cwd=row.cwd,
            log=str(folder / "wandb.log"),
            folder=self._runs.folder_of(id),
        )
        try:
            with self._runs.under_way(id, JobPlace(row.id)):
                await trio.to_thread.run_sync(lambda: folder.mkdir(parents=True, exist_ok=True), limiter=_threads)
                if not await self._take_up(id, run, ended):
                    await self._begin(run, ended)
        except Exception as error:  # whatever it is: an export must not end the daemon
            for each in error.exceptions if isinstance(error, ExceptionGroup) else [error]:
                log.warning("experiment %s: the wandb export is incomplete: %s", row.id, each)
        finally:
            with trio.CancelScope(shield=True):
                await self._runs.forget(id)

    async def _take_up(self, id: RunId, run: Run, ended: trio.Event) -> bool:
        """Continue the export of an earlier daemon, if its worker still runs. False if it does not."""
        async with self._runs.claim(id) as left:
            if left is None or not self._pool.is_reserved(left.worker, run.run):
                return False
            async with self._pool.rejoin(left.worker, run.run) as lease:
                await self._wait_for_end(lease, run, ended, is_taken_up=True)
        return True

    async def _begin(self, run: Run, ended: trio.Event) -> None:
        env = await self._environments.ensure(load_spec("wandb"), lambda bar: None)
        needs = ActorNeeds(label=LABEL, component=COMPONENT, env=env, model_key="", cpus=1, keep_alive=KEEP_ALIVE)
        async with self._pool.lease(needs) as lease:
            await self._runs.record(run, needs, lease.actor.name, cpus=0, on_wait=_wait)
            await self._wait_for_end(lease, run, ended, is_taken_up=False)

    async def _wait_for_end(self, lease: Lease, run: Run, ended: trio.Event, is_taken_up: bool) -> None:
        async with trio.open_nursery() as nursery:
            lease.actor.job = f"exports experiment {RunId.parse(run.run).experiment}"
            nursery.start_soon(_limit, ended)
            await self._runs.outcome(lease, run, is_taken_up)
            nursery.cancel_scope.cancel()


def _config(row: ExperimentRow, experiment: Experiment, environ: Mapping[str, str]) -> dict[str, Any]:
    """Of the exporter component."""
    mode = environ.get("WANDB_MODE", "")
    return {
        "project": environ.get("WANDB_PROJECT") or experiment.project_name or "sandbox",
        "name": environ.get("WANDB_NAME") or experiment.experiment_name,
        "entity": environ.get("WANDB_ENTITY", ""),
        "mode": MODES.get(mode, mode),
        "dir": environ.get("WANDB_DIR") or row.work_dir,
        "is_prefixed": len(experiment.pipelines) > 1,
    }


async def _wait(reason: str) -> None:
    log.warning("an export %s", reason)


async def _limit(ended: trio.Event) -> None:
    """Let the export continue for a while after the experiment's end. Raises WorkerLost then, which ends its worker:
    one that hangs must not be leased again."""
    await ended.wait()
    await trio.sleep(FINISH_TIMEOUT)
    raise WorkerLost(f"the rest was not exported within {FINISH_TIMEOUT:g} seconds")
