"""Keeps the TCP port of a daemon open: `curve_relay.py` in a process, which is started again when it dies."""

from __future__ import annotations

import logging
import subprocess
import sys
from functools import partial
from pathlib import Path

import trio

from sandbox_actors.errors import ProtocolError
from sandbox_actors.files import PACKAGES
from sandbox_actors.transport.keys import Keys

PAUSE = 1.0
"""Seconds between the death of the process and the next one."""

READY = b"ready\n"

log = logging.getLogger(__name__)


class CurvePort:
    """At `address`, for the keys in `keys`. Clients are connected to the Unix socket `socket`."""

    def __init__(self, address: str, keys: Keys, socket: Path) -> None:
        arguments = [address, str(keys.folder), str(socket)]
        self._command = [sys.executable, "-m", "sandbox_actors.transport.curve_relay", *arguments]
        self._address = address

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Started when the port is open. Raises ProtocolError if it cannot be opened at first."""
        status = await self._serve(task_status)
        while True:
            log.warning(
                "the process of the TCP port %s ended with status %d: it is started again", self._address, status
            )
            await trio.sleep(PAUSE)
            try:
                status = await self._serve()
            except ProtocolError as error:
                log.warning("%s", error)

    async def _serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> int:
        """From the start of a process to its end: its exit status."""
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, check=False, start_new_session=True, cwd=PACKAGES)
            process: trio.Process = await nursery.start(
                partial(start, self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            said = b""
            assert process.stdout is not None
            async for data in process.stdout:
                said += data
                if said == READY:
                    task_status.started()
            status = await process.wait()
        if said != READY:
            raise ProtocolError(said.decode(errors="replace").strip() or f"{self._address} cannot be opened")
        return status
