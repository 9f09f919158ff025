"""Entry point of a worker process: `python -I BUNDLE/sandbox_actors/worker/__main__.py SOCKET NAME GRACE LIFELINE`.

SOCKET is the daemon's worker socket. GRACE is how many seconds an idle worker waits for another daemon after this
one has ended. LIFELINE is an inherited descriptor, the reading end of a pipe: its first line is the
token that authenticates the worker; end of file before the daemon's greeting means that the daemon has ended.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    # Isolated mode puts no folder on sys.path: add the bundle that contains this file.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from sandbox_actors.worker.data_juicer_aliases import DataJuicerAliases
    from sandbox_actors.worker.host import Host
    from sandbox_actors.worker.link import DaemonLink

    socket, name, grace, lifeline = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    faulthandler.enable(2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    token = _read_line(lifeline)
    if not token:
        return  # the daemon ended before it had recorded this worker
    os.set_inheritable(lifeline, False)
    sys.meta_path.append(DataJuicerAliases())
    link = DaemonLink(socket, name, token, lifeline, grace)
    link.open()
    Host(link).serve()
    link.close()


def _read_line(descriptor: int) -> str:
    """Read byte by byte, so that nothing after the line is consumed."""
    line = bytearray()
    while (byte := os.read(descriptor, 1)) not in (b"\n", b""):
        line += byte
    return line.decode("ascii")


if __name__ == "__main__":
    main()
