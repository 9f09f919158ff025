"""One supervised child process: in a session of its own, with a lifeline, and ended with everything it started.

Theory of operation. Each child has one task, `supervise`, in the nursery that it was spawned in. That task alone reaps
the child and closes its descriptors. Other tasks may wait, signal or measure at any time; after the end, signals do
nothing. Blocking work (spawning, walking the process tree) is done in threads of this module's own limiter.

- The child is watched through a pidfd, which becomes readable when the process ends, whatever its sockets and pipes
  say.
- A lifeline is a pipe of which the child holds the reading end: it ends when this process does, for whatever reason.
- A child is ended by `end`, and by nothing else: SIGTERM, after `TERMINATE_GRACE` seconds SIGKILL. Whatever has ended
  it, what it started is then killed: by descent, and by its mark if it has left the session
  (`protocol/process_mark.py`).
- When its nursery is cancelled, the child continues, unwatched: an error in this process must not end a training. It
  may outlive this process too. The next daemon can adopt it: it is then watched and ended like a child of its own,
  but its exit status cannot be known.

Guaranteed: `wait` returns only after the child and everything that it started has ended, except for what hangs in the
kernel; a pidfd never means another process that got the same pid.

What failed: a parent-death signal is tied to the thread that spawned, and trio's threads end after 10 s: it killed the
children of a living parent. `killpg` left 8 of 8 grandchildren alive that had called setsid. `Popen.wait` returns 0 for
any exit status when something else has reaped the child, hence waitid. Trio's own limiter: with 40 threads stuck in a
slow disk, no process can be spawned. In the parent's process group, Ctrl-C at the terminal reaches the children.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from sandbox_actors.errors import SandboxError
from sandbox_actors.files import tail
from sandbox_actors.protocol.process_mark import MARK, mark_limit
from sandbox_actors.system.process_tree import TERMINATE_GRACE, find_descendants, kill_descendants

PAGE = os.sysconf("SC_PAGE_SIZE")


_threads = trio.CapacityLimiter(8)  # trio's own limiter may be full of threads that wait for a slow disk


class SpawnFailed(SandboxError):
    """The operating system could not start a process."""

    code = "spawn"


@dataclass(frozen=True)
class ExitStatus:
    """How a process ended. `status` is its exit status, negative for a signal, None if another process reaped it."""

    status: int | None

    def __str__(self) -> str:
        if self.status is None:
            return "exited with unknown status"
        if self.status < 0:
            return f"was ended by {signal.Signals(-self.status).name}"
        return f"exited with status {self.status}"


class ChildProcess:
    """A running child. It continues, unwatched, when the nursery that it was spawned in is cancelled.

    `lifeline` is None for an adopted one. Raises ProcessLookupError if the process has ended.
    """

    def __init__(self, name: str, pid: int, lifeline: int | None, output: Path) -> None:
        self.name, self.pid, self.output = name, pid, output
        self.exit_status: ExitStatus | None = None
        self._lifeline = lifeline
        self._pidfd = os.pidfd_open(pid)
        self._ended = trio.Event()

    async def wait(self) -> ExitStatus:
        """Wait until the process, and all that it started, has ended."""
        await self._ended.wait()
        assert self.exit_status is not None
        return self.exit_status

    async def end(self, grace: float = TERMINATE_GRACE) -> ExitStatus:
        """Terminate the process, kill it after `grace` seconds, and wait until it and all that it started have
        ended."""
        self.signal(signal.SIGTERM)
        with trio.move_on_after(grace):
            return await self.wait()
        self.signal(signal.SIGKILL)
        return await self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send `number` to the process itself, if it still runs."""
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return

    def has_ended(self) -> bool:
        """Whether the process has ended, even if `wait` has not yet, because it ends what the process has left
        behind."""
        poller = select.poll()
        if self._pidfd < 0:
            return True
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(0))

    def memory(self) -> int:
        """Resident bytes of the process; 0 when it has ended."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_bytes().split()[1] if self.exit_status is None else 0
        except OSError:
            return 0
        return int(pages) * PAGE

    def last_lines(self, count: int = 20) -> str:
        """The last lines of the process's own output, outside of runs."""
        return tail(self.output, count)

    def release(self) -> None:
        """Close the descriptors: the process has ended, is not the one that was meant, or continues unwatched."""
        for descriptor in filter(None, (self._lifeline, self._pidfd)):
            os.close(descriptor)
        self._lifeline, self._pidfd = None, -1

    async def supervise(self) -> None:
        """Wait until the process ends, then end what it left behind. The task that `spawn` and `adopt` start."""
        try:
            await trio.lowlevel.wait_readable(self._pidfd)
            with trio.CancelScope(shield=True):  # what a child has left behind does not outlive it
                await self._finish()
        finally:
            self.release()

    async def _finish(self) -> None:
        # Found while the child exists: afterwards its descendants have another parent.
        strays = await trio.to_thread.run_sync(find_descendants, self.pid, self.name, limiter=_threads)
        self.exit_status = _reap(self._pidfd)
        await trio.to_thread.run_sync(kill_descendants, self.pid, self.name, strays, limiter=_threads)
        self._ended.set()


def _reap(pidfd: int) -> ExitStatus:
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return ExitStatus(None)
    assert result is not None
    is_exit = result.si_code == os.CLD_EXITED
    return ExitStatus(result.si_status if is_exit else -result.si_status)


async def spawn(
    nursery: trio.Nursery,
    name: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    output: Path,
    secret: str = "",
    on_started: Callable[[int], None] = lambda pid: None,
) -> ChildProcess:
    """Start `command`, with the number of the descriptor that is its lifeline as one more argument.

    `name` marks the child and its descendants; `secret` is the first line on the lifeline, for what must
    not be in an argument list. Standard output and error are appended to the file `output`. `on_started` is called
    with the pid, in a thread, before the secret is handed over: a process that was not recorded does not get the
    secret. Raises SpawnFailed.
    """
    reading, writing = os.pipe()
    try:
        pid = await trio.to_thread.run_sync(
            _start, [*command, str(reading)], {**environ, MARK: name}, output, reading, on_started, limiter=_threads
        )
    except BaseException as error:
        os.close(writing)
        if isinstance(error, OSError):
            raise SpawnFailed(f"cannot start {command[0]}: {error.strerror or error}") from error
        raise
    finally:
        os.close(reading)
    with suppress(BrokenPipeError):  # it was killed at once, which `wait` reports
        os.write(writing, secret.encode("ascii") + b"\n")
    child = ChildProcess(name, pid, writing, output)
    nursery.start_soon(child.supervise)
    return child


def adopt(nursery: trio.Nursery, name: str, pid: int, started: str, output: Path) -> ChildProcess | None:
    """A child that another process has spawned; None if it has ended. `started` as from `started_at`."""
    try:
        child = ChildProcess(name, pid, None, output)
    except OSError:
        return None
    # Checked after the pidfd was opened, so that the pid cannot mean another process afterwards.
    if started_at(pid) != started:
        child.release()
        return None
    nursery.start_soon(child.supervise)
    return child


def started_at(pid: int) -> str:
    """When a process started: different for any two processes with the same pid; "" for one that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""
    # After the program's name, which may contain anything: state, 18 numbers, then the start in clock ticks.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else f"{boot.strip()}.{fields[19]}"


def _start(
    command: list[str], environ: dict[str, str], output: Path, lifeline: int, on_started: Callable[[int], None]
) -> int:
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab") as log:
        process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lifeline,),
            start_new_session=True,
        )
    mark_limit(process.pid, environ[MARK])
    try:
        on_started(process.pid)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = 0  # reaped through the pidfd: keeps Popen from reaping, and from warning
    return process.pid
