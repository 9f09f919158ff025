"""A store on a real file, used from trio as in the daemon, and rows for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from sandbox_actors.protocol.client_requests import Submit
from sandbox_actors.protocol.rows import ExperimentRow, JobRow
from sandbox_actors.store.store import Outputs, Store, open_store

SUBMIT = Submit(definition={"project_name": "p", "ratio": 0.5}, source="sandbox.yaml", cwd="/data", environ={"A": "b"})


def job(index: int, state: str = "waiting", **more: Any) -> JobRow:
    known = {"pipeline": "refined", "list": "probe_jobs", "hook": "ProbeViaAnalyzerHook", "meta_name": f"job{index}"}
    return JobRow(**{"seq": 0, "index": index, "iter": 1, "state": state, **known, **more})


def outputs(index: int, *values: Any) -> Outputs:
    entry = {"meta_name": f"job{index}", **{f"res_{place}": value for place, value in enumerate(values)}}
    return Outputs(iter=1, index=index, values=list(values), is_tuple=len(values) > 1, entry=entry)


async def add(store: Store, name: str = "demo", jobs: int = 0) -> ExperimentRow:
    rows = [job(index) for index in range(jobs)]
    row, _ = await store.add_experiment(SUBMIT, name=name, project="p", work_dir="/out", submitted=1.5, jobs=rows)
    return row


def with_store(path: Path, act: Callable[[Store], Awaitable[object]]) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            async with open_store(path) as store:
                await act(store)

    trio.run(main)


async def nothing(store: Store) -> None:
    await trio.lowlevel.checkpoint()
