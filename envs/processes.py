"""Run commands as child processes: their output is streamed, their time limited, and they are ended with every process
that they started.

A child gets a session of its own, so that Ctrl-C at a terminal reaches only this process, and a tag in its environment,
which its descendants inherit. The tag finds them where a process group or the process tree does not: after `setsid`,
and after the death of a parent in between.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import selectors
import shlex
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from sandbox_actors.errors import EnvError
from sandbox_actors.protocol.secrets import without_secrets

TAG = "SANDBOX_ENV_COMMAND"
TAIL_LINES = 20
_LINE_END = re.compile(r"(\r\n|\n|\r(?!\Z))")  # a last \r may yet be followed by its \n
CHUNK = 64 * 1024
_BEGUN_URL = re.compile(rb"[\w.+-]{0,32}:(/{0,2}|//\S{0,4096})\Z")
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""
KILL_ROUNDS = 20
STEP = 0.01
"""Seconds between two checks of processes that are ending."""
POLL = 0.1
"""Seconds between two checks for a cancellation, or for an exit that was not reported."""


class CommandFailed(EnvError):
    """A command could not be started, failed, or ran out of time. The message ends with its last lines."""

    def __init__(self, command: str, what: str, tail: Sequence[str] = (), hint: str = "") -> None:
        lines = [f"{command}: {what}", *(f"  | {line}" for line in tail)]
        super().__init__("\n".join([*lines, hint] if hint else lines))
        self.command, self.what, self.tail, self.hint = command, what, list(tail), hint


class Control(NamedTuple):
    """How a command is ended early: `tag` marks it and the processes that it starts, setting `cancel` in another thread
    ends it, and so does a time of `timeout` seconds."""

    tag: str
    cancel: threading.Event | None = None
    timeout: float | None = None


class Finished(NamedTuple):
    """How a command ended. `status` is the exit status, or minus the number of the signal that ended it."""

    status: int
    tail: list[str]


def control(cancel: threading.Event | None = None, timeout: float | None = None) -> Control:
    return Control(uuid.uuid4().hex, cancel, timeout)


def shown(command: str | Sequence[str]) -> str:
    """The command as it would be typed, without the secrets in it."""
    return without_secrets(command if isinstance(command, str) else shlex.join(command))


def run(
    command: str | Sequence[str],
    *,
    environ: Mapping[str, str],
    control: Control,
    cwd: Path | None = None,
    output: Callable[[bytes], object] = lambda _: None,
) -> Finished:
    """Run to the end, and pass everything that it writes to `output` immediately. A string is run by /bin/sh, a list
    without a shell.

    Returns when the command itself has ended; processes that it left in the background continue. If `control` ends it,
    or an exception occurs meanwhile (KeyboardInterrupt, or one that `output` raises), the command is ended with every
    process that it started, and CommandFailed or that exception is raised.
    """
    tail, masked = Tail(), _Masked()

    def take(data: bytes) -> None:
        if data := masked.add(data):
            tail.add(data)
            output(data)

    try:
        child = subprocess.Popen(
            command,
            shell=isinstance(command, str),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environ, TAG: f"{environ.get(TAG, '')} {control.tag}".lstrip()},  # commands may be nested
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(shown(command), f"cannot be started: {error}") from error
    except BaseException:  # of a signal's handler: the command may run, and only its tag leads to it
        end_tree(control.tag)
        raise
    assert child.stdout is not None
    with child.stdout as stream:
        try:
            what = _follow(child, stream, take, control)
        except BaseException:
            end_tree(control.tag, child.pid)
            child.wait()
            raise
        take(b"")  # the end
        if what:
            end_tree(control.tag, child.pid)
            child.wait()
            raise CommandFailed(shown(command), what, tail.lines())
    return Finished(child.returncode, tail.lines())


def check(
    command: str | Sequence[str],
    *,
    environ: Mapping[str, str],
    control: Control,
    cwd: Path | None = None,
    output: Callable[[bytes], object] = lambda _: None,
    hint: Callable[[list[str]], str] = lambda _: "",
) -> None:
    """`run`, and raise CommandFailed unless the exit status is 0. `hint` derives advice from the last lines."""
    done = run(command, environ=environ, control=control, cwd=cwd, output=output)
    if done.status:
        raise CommandFailed(shown(command), described(done.status), done.tail, hint(done.tail))


def described(status: int) -> str:
    return f"ended with exit status {status}" if status > 0 else f"was ended by signal {-status}"


class _Masked:
    """A stream of bytes without the credentials in its URLs: installers print those of the indexes that they are
    configured with. Only what may be the beginning of a URL waits for its end."""

    def __init__(self) -> None:
        self._open = b""

    def add(self, data: bytes) -> bytes:
        """What can be passed on; nothing at the end completes it."""
        text = self._open + data
        begun = None if not data or len(text) > CHUNK else _BEGUN_URL.search(text)
        self._open = text[begun.start() :] if begun else b""
        return without_secrets(text[: len(text) - len(self._open)].decode("latin-1")).encode("latin-1")


class Tail:
    """The last lines of a stream of bytes. `\\r` ends a line too, which the next one replaces, as in progress bars."""

    def __init__(self, lines: int = TAIL_LINES) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._lines: deque[str] = deque(maxlen=lines)
        self._open = ""
        self._is_redrawn = False

    def add(self, data: bytes) -> list[str]:
        """The lines that `data` completed."""
        *pieces, self._open = _LINE_END.split(self._open + self._decode(data))
        self._open = self._open[-CHUNK:]
        found = []
        for line, end in zip(pieces[::2], pieces[1::2], strict=True):
            if not line.strip():
                continue
            if self._is_redrawn and self._lines:
                self._lines.pop()
            self._is_redrawn = end == "\r"
            self._lines.append(line.rstrip())
            found.append(line.rstrip())
        return found

    def lines(self) -> list[str]:
        return [*self._lines, *([self._open.rstrip()] if self._open.strip() else [])]


def _follow(
    child: subprocess.Popen[bytes],
    stream: IO[bytes],
    take: Callable[[bytes], None],
    control: Control,
) -> str:
    """Read until the child has ended. Returns why it must be ended before that, or an empty string."""
    deadline = None if control.timeout is None else time.monotonic() + control.timeout
    descriptor = stream.fileno()
    os.set_blocking(descriptor, False)
    with selectors.DefaultSelector() as selector, _exit_descriptor(child.pid) as exit_descriptor:
        selector.register(descriptor, selectors.EVENT_READ)
        if exit_descriptor is not None:
            selector.register(exit_descriptor, selectors.EVENT_READ)
        while child.poll() is None:
            if control.cancel is not None and control.cancel.is_set():
                return "was cancelled"
            if deadline is not None and time.monotonic() >= deadline:
                return f"was still running after {control.timeout:g} seconds"
            wait = POLL if deadline is None else max(0.0, min(POLL, deadline - time.monotonic()))
            for key, _ in selector.select(wait):
                if key.fd == descriptor and not _read(descriptor, take):
                    selector.unregister(descriptor)
        while _read(descriptor, take):
            pass
    return ""


def _read(descriptor: int, take: Callable[[bytes], None]) -> bool:
    """Pass on what can be read now. False at the end of the stream, or if nothing can be read now."""
    try:
        data = os.read(descriptor, CHUNK)
    except BlockingIOError:
        return False
    if data:
        take(data)
    return bool(data)


@contextlib.contextmanager
def _exit_descriptor(pid: int) -> Iterator[int | None]:
    """A descriptor that becomes readable when the process ends; None if the system has none."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def strays(tag: str) -> list[psutil.Process]:
    """Every process of this user, except this one, whose environment contains the tag."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and tag in process.environ().get(TAG, "").split():
                found.append(process)
    return found


def end_tree(tag: str, pid: int | None = None, grace: float = GRACE) -> None:
    """End every process with the tag, and `pid` with its descendants: SIGTERM, a bounded wait, then SIGKILL."""
    targets = _tree(tag, pid)
    for process in targets:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _wait_until_gone(targets, grace)
    for _ in range(KILL_ROUNDS):  # repeated, because a process that is being killed may have started another one
        targets = _tree(tag, pid)
        if not targets:
            return
        for process in targets:
            with contextlib.suppress(psutil.Error):
                process.kill()
        _wait_until_gone(targets, grace)


def _wait_until_gone(targets: list[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(_is_alive(process) for process in targets) and time.monotonic() < deadline:
        time.sleep(STEP)


def _is_alive(process: psutil.Process) -> bool:
    """A zombie is not alive: it has ended, and its parent may never wait for it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _tree(tag: str, pid: int | None) -> list[psutil.Process]:
    found = set(strays(tag))
    if pid is not None:
        with contextlib.suppress(psutil.Error):
            leader = psutil.Process(pid)
            found.update([leader, *leader.children(recursive=True)])
    return [process for process in found if _is_alive(process)]
