"""Experiments carried to wandb, by a component actor that reads their metrics as any client does.

Nobody waits for it. What goes wrong is said in the daemon's log and in `wandb.log` of the experiment's record.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import trio

from envs.specs import load_spec
from sandbox_actors.actors.component_actor import Lease, Wanted
from sandbox_actors.errors import WorkerLost
from sandbox_actors.experiment.model import Experiment
from sandbox_actors.jobs.actor_request import KEEP_ALIVE
from sandbox_actors.jobs.durable_runs import RunPlace
from sandbox_actors.jobs.job_runner import Workshop
from sandbox_actors.protocol.rows import ExperimentRow
from sandbox_actors.protocol.worker_requests import ComponentRef, Run

TARGET = "components.wandb_exporter:WandbExporter"
LABEL = "wandb-exporter"
HEEDED = ("WANDB_MODE", "WANDB_DISABLED", "WANDB_PROJECT", "WANDB_NAME", "WANDB_ENTITY", "WANDB_DIR")

MODES = {"dryrun": "offline"}
"""Old names of wandb's modes."""

FAREWELL = 60.0
"""Seconds after an experiment's end in which the rest has to be handed over."""

_threads = trio.CapacityLimiter(2)


def heeded(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a submitter that an export looks at, and which are kept with the experiment. No key is among
    them: that is taken from the daemon's own environment."""
    return {name: environ[name] for name in HEEDED if name in environ}


def is_wanted(environ: dict[str, str]) -> bool:
    """Whether the submitter's WANDB_MODE leaves wandb on."""
    return environ.get("WANDB_MODE") != "disabled" and environ.get("WANDB_DISABLED", "").lower() not in ("true", "1")


async def export_to_wandb(
    shop: Workshop, row: ExperimentRow, experiment: Experiment, environ: dict[str, str], folder: Path, ended: trio.Event
) -> None:
    """Export one experiment, from now to its end. Raises nothing."""
    name, mode = run_of(row.id), environ.get("WANDB_MODE", "")
    config = {
        "project": environ.get("WANDB_PROJECT") or experiment.project_name or "sandbox",
        "name": environ.get("WANDB_NAME") or experiment.experiment_name,
        "entity": environ.get("WANDB_ENTITY", ""),
        "mode": MODES.get(mode, mode),
        "dir": environ.get("WANDB_DIR") or row.work_dir,
        "is_prefixed": len(experiment.pipelines) > 1,
    }
    component = ComponentRef(target=TARGET)
    run = Run(
        run=name,
        component=component,
        config=config,
        model_key="",
        cwd=row.cwd,
        log=str(folder / "wandb.log"),
        folder=shop.kept.folder_of(name),
    )
    shop.runs[name] = RunPlace(row.id, -1, "", "", 1)
    try:
        await trio.to_thread.run_sync(lambda: folder.mkdir(parents=True, exist_ok=True), limiter=_threads)
        async with shop.kept.claim(name) as left:
            if left is not None and shop.pool.is_reserved(left.worker, name):
                async with shop.pool.rejoin(left.worker, name) as lease:
                    await _export(shop, lease, run, row.id, ended, is_taken_up=True)
                return
        env = await shop.environments.ensure(load_spec("wandb"), lambda bar: None)
        wanted = Wanted(label=LABEL, component=component, env=env, model_key="", cpus=1, keep_alive=KEEP_ALIVE)
        async with shop.pool.lease(wanted) as lease:
            await shop.kept.begin(run, wanted, lease.actor.name, cpus=0)
            await _export(shop, lease, run, row.id, ended, is_taken_up=False)
    except Exception as error:  # whatever it is: an export must not end the daemon
        for each in error.exceptions if isinstance(error, ExceptionGroup) else [error]:
            print(f"experiment {row.id} is not (wholly) in wandb: {each}", file=sys.stderr, flush=True)
    finally:
        del shop.runs[name]
        with trio.CancelScope(shield=True):
            await shop.kept.forget(name)


def run_of(experiment: str) -> str:
    """What the export of an experiment is called among the runs."""
    return f"{experiment}.wandb"


async def _export(
    shop: Workshop, lease: Lease, run: Run, experiment: str, ended: trio.Event, is_taken_up: bool
) -> None:
    async with trio.open_nursery() as nursery:
        lease.actor.job = f"exports experiment {experiment}"
        nursery.start_soon(_limit, ended)
        await shop.kept.outcome(lease, run, is_taken_up)
        nursery.cancel_scope.cancel()


async def _limit(ended: trio.Event) -> None:
    """Let the export go on for a while after the experiment's end. Raises WorkerLost then, which ends its worker: one
    that hangs must not be leased again."""
    await ended.wait()
    await trio.sleep(FAREWELL)
    raise WorkerLost(f"the rest was not handed over within {FAREWELL:g} seconds")
