"""The face of every env: five verbs, a python, and the variables of what runs with it."""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from envs import installer, processes
from envs.env_folder import EnvFolder, Marker
from envs.interpreters import uv_binary, version_text
from envs.variables import tool_environ, worker_environ
from sandbox_actors.bootstrap import NEWEST_VARIABLE
from sandbox_actors.errors import EnvError, EnvManagerMissing

_UNREACHABLE = (
    "dns error",
    "error sending request",
    "client error (connect)",
    "connection refused",
    "network is unreachable",
    "operation timed out",
)
Output = Callable[[bytes], object]
PIP = installer.Request(lines=("pip",))
"""In every env: without a pip of its own, `pip install` in it would run the host's, and fill the host's env."""


class Env(ABC):
    """One env: named, made by one manager, and lying in one folder.

    A name with a slash in it is a path. An env that is there already, whoever made it, is used as it is and only
    added to. Raises EnvError; what the manager and the installer print goes to `output`, by default standard error.
    `env_manager` is one of the class's `managers`, by default its `default_manager`.
    """

    kind: ClassVar[str]
    managers: ClassVar[tuple[str, ...]]
    default_manager: ClassVar[str]

    def __init__(
        self,
        env_name: str,
        env_manager: str = "",
        env_config_path: str | Path | None = None,
        env_py_version: str | float | None = None,
        *,
        prefix: Path | None = None,
        output: Output | None = None,
    ) -> None:
        if not env_name or "\0" in env_name or env_name in (".", ".."):
            raise EnvError(f"{env_name!r} cannot be the name of an env")
        self.env_name = env_name
        self.env_manager = env_manager or self.default_manager
        if self.env_manager not in self.managers:
            raise EnvError(f"{env_manager!r} does not make {self.kind} environments; {', '.join(self.managers)} do")
        self.env_config_path = Path(env_config_path).expanduser().absolute() if env_config_path else None
        self.env_py_version = version_text(env_py_version)
        self.output = output or _to_stderr
        self._prefix = prefix

    # --- what the seed names ---------------------------------------------------------------------------------------

    def create(self, cancel: threading.Event | None = None) -> None:
        """Make the env, unless it exists. When this raises, or the process dies in it, there is no env."""
        if self.exists():
            return
        self.require_manager()
        folder = self.folder
        with folder.claimed():
            if self.exists():
                return
            if folder.is_left_over():
                folder.clear()
            elif folder.prefix.exists() and any(folder.prefix.iterdir()):
                raise EnvError(f"{folder.prefix} is there already and is no env: remove it, or take another name")
            control, started = processes.control(cancel), time.time()
            with folder.changing(control.tag):
                self.make_with_pip(control)
                self.install(installer.Request(lines=tuple(self.configured())), control)
                seconds = round(time.time() - started, 3)
                folder.write_marker(
                    Marker(name=self.env_name, manager=self.env_manager, created=started, seconds=seconds)
                )

    def check_availability(self) -> bool:
        """Whether this machine has the manager. `why_unavailable` says why not."""
        return not self.why_unavailable

    def exists(self) -> bool:
        """There is a finished env of this name."""
        return self.folder.is_finished()

    def install_py_deps(
        self, deps: str | Path | Sequence[str], *, timeout: float | None = None, cancel: threading.Event | None = None
    ) -> None:
        """Return when the env holds `deps`: a requirements file, a list of requirements, or the folder of a code base,
        which is installed editable. What is there already is not looked for again."""
        self._require_env()
        request = installer.Request(lines=tuple(installer.lines_of(deps)))
        stamps = installer.Stamps(self.prefix)
        if not stamps.has(request):
            self.install(request, processes.control(cancel, timeout))
            stamps.add(request)
        self.folder.touch()

    def run_cmd(
        self,
        cmd: str | Sequence[str],
        *,
        check: bool = True,
        cwd: str | Path | None = None,
        environ: dict[str, str] | None = None,
        output: Output | None = None,
        timeout: float | None = None,
        cancel: threading.Event | None = None,
    ) -> int:
        """Run a command in the env and return its exit status. A string goes to /bin/sh, a list to no shell.

        What it writes goes to `output` as it comes, by default to standard output. `environ` is added to the env's
        variables. A status other than 0 raises CommandFailed with the last lines, unless `check` is false. `timeout`
        (seconds), `cancel` and KeyboardInterrupt end the command and all that it started.
        """
        self._require_env()
        self.folder.touch()
        done = processes.run(
            cmd if isinstance(cmd, str) else [str(word) for word in cmd],
            environ={**self.environ(), **(environ or {})},
            control=processes.control(cancel, timeout),
            cwd=Path(cwd) if cwd else None,
            output=output or _to_stdout,
        )
        if check and done.status:
            raise processes.CommandFailed(processes.shown(cmd), processes.described(done.status), done.tail)
        return done.status

    # --- beyond the seed -------------------------------------------------------------------------------------------

    @property
    def why_unavailable(self) -> str:
        """What this machine lacks, and how to get it; empty when nothing."""
        try:
            uv_binary()
        except EnvManagerMissing as error:
            return str(error)
        return self.lacking()

    @property
    def prefix(self) -> Path:
        """The folder of the env, absolute."""
        if self._prefix is None:
            self._prefix = self.find_prefix()
        return self._prefix

    @property
    def folder(self) -> EnvFolder:
        return EnvFolder(self.prefix)

    @property
    def python_executable(self) -> str:
        return str(self.folder.python)

    def environ(self, host: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a process in this env, on top of `host`, by default this process's; nothing of the host's
        Python environment is in them."""
        return worker_environ(self.prefix, host)

    def remove(self) -> None:
        """Remove an env that was made by `create`. One that its user made himself is refused."""
        folder = self.folder
        with folder.claimed():
            if folder.is_finished() and folder.read_marker() is None:
                raise EnvError(f"{folder.prefix} was not made by the sandbox: remove it by hand")
            with folder.changing(processes.control().tag):
                folder.clear()

    def install(self, request: installer.Request, control: processes.Control) -> None:
        """Fulfil a request by one call of the resolver, whether or not it is fulfilled already."""
        if not request.lines:
            return
        with installer.arguments(uv_binary(), self.folder.python, request) as command:
            self.call([*command, "--compile-bytecode", *self.installer_options()], control)

    def make_with_pip(self, control: processes.Control) -> None:
        """Make an env with a python and a pip at `prefix`, where there is nothing."""
        self.make(control)
        if (self.prefix / "bin" / "pip").exists():
            return
        # Not compiled, which would take longer than all else. And any pip will do: one from the cache, without asking
        # an index for the newest, unless there is none.
        with installer.arguments(uv_binary(), self.folder.python, PIP) as command:
            command += self.installer_options()
            if processes.run([*command, "--offline"], environ=tool_environ(), control=control).status:
                self.call(command, control)

    def call(self, command: Sequence[str], control: processes.Control) -> None:
        """Run a manager or installer; CommandFailed with its last lines when it fails."""
        self.output(f"$ {processes.shown(command)}\n".encode())
        processes.check(command, environ=tool_environ(), control=control, output=self.output, hint=_hint)

    def require_manager(self) -> None:
        if why := self.why_unavailable:
            raise EnvManagerMissing(why)

    def configured(self) -> list[str]:
        """The requirements that `env_config_path` brings in."""
        return []

    def conda_packages(self) -> list[str]:
        """The conda packages that are asked for."""
        return []

    def conda_channels(self) -> list[str]:
        """Where they are looked for; empty for what the manager is set up with."""
        return []

    def installer_options(self) -> list[str]:
        """What the installer has to be told about envs of this kind."""
        return []

    @abstractmethod
    def find_prefix(self) -> Path:
        """Where the env of this name lies, or would be made."""

    @abstractmethod
    def lacking(self) -> str:
        """Why the manager cannot be used; empty when it can."""

    @abstractmethod
    def make(self, control: processes.Control) -> None:
        """Make an env with a python at `prefix`, where there is nothing."""

    def _require_env(self) -> None:
        if not self.exists():
            raise EnvError(f"there is no env {self.env_name!r} at {self.prefix}: make it with create()")


def _hint(tail: list[str]) -> str:
    """What to do about the failures that people meet most."""
    text = "\n".join(tail).lower()
    if "no space left" in text or "os error 28" in text:
        return "the disk is full: free some space, for instance by removing envs that are not used"
    if any(sign in text for sign in _UNREACHABLE):
        return "the package index cannot be reached: check the network, and the index that pip or uv is set up with"
    if "no solution found" in text:
        return f"if versions of a lock are gone or do not fit this Python, {NEWEST_VARIABLE}=1 takes the newest ones"
    return ""


def _to_stdout(data: bytes) -> None:
    _write(sys.stdout, data)


def _to_stderr(data: bytes) -> None:
    _write(sys.stderr, data)


def _write(stream: object, data: bytes) -> None:
    target = getattr(stream, "buffer", None)
    if target is not None:
        target.write(data)
        target.flush()
    elif hasattr(stream, "write"):
        stream.write(data.decode("utf-8", "replace"))
