"""The interface of every env: the five methods of Data-Juicer Sandbox, a python, and the variables of its processes."""

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
from sandbox_actors.files import user_path

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
"""Installed in every env: without it, `pip install` in an env would run the host's pip, and install into the host."""


class Env(ABC):
    """One env: it has a name, a manager that creates it, and a folder.

    A name that contains a slash is a path. An env that exists already is used as it is, and packages are only added.
    Methods raise EnvError; what the manager and the installer print goes to `output`, by default standard error.
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
        self.env_config_path = user_path(env_config_path).absolute() if env_config_path else None
        self.env_py_version = version_text(env_py_version)
        self.output = output or _to_stderr
        self._prefix = prefix

    # --- the interface of Data-Juicer Sandbox ----------------------------------------------------------------------

    def create(self, cancel: threading.Event | None = None) -> None:
        """Create the env, unless it exists. If this raises, or the process is killed meanwhile, there is no env."""
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
                raise EnvError(f"{folder.prefix} exists and is not an env: remove it, or use another name")
            control, started = processes.control(cancel), time.time()
            with folder.changing(control.tag):
                self.make_with_pip(control)
                self.install(installer.Request(lines=tuple(self.configured())), control)
                seconds = round(time.time() - started, 3)
                folder.write_marker(
                    Marker(name=self.env_name, manager=self.env_manager, created=started, seconds=seconds)
                )

    def check_availability(self) -> bool:
        """Whether this machine has the manager; `why_unavailable` gives the reason if it does not."""
        return not self.why_unavailable

    def exists(self) -> bool:
        """Whether there is a complete env of this name."""
        return self.folder.is_finished()

    def install_py_deps(
        self, deps: str | Path | Sequence[str], *, timeout: float | None = None, cancel: threading.Event | None = None
    ) -> None:
        """Install `deps`: a requirements file, a list of requirements, or the folder of a code base, which is installed
        editable. Does nothing if they were installed before and nothing has changed since."""
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
        """Run a command in the env and return its exit status. A string is run by /bin/sh, a list without a shell.

        What it writes goes to `output` immediately, by default to standard output. `environ` is added to the env's
        variables. A status other than 0 raises CommandFailed with the last lines, unless `check` is false. `timeout`
        (seconds), `cancel` and KeyboardInterrupt end the command and every process that it started.
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

    # --- additions -------------------------------------------------------------------------------------------------

    @property
    def why_unavailable(self) -> str:
        """What this machine lacks, and how to get it; empty if the manager can be used."""
        try:
            uv_binary()
        except EnvManagerMissing as error:
            return str(error)
        return self.missing_manager()

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
        """The variables of a process in this env: those of `host`, by default this process, without the host's Python
        environment, and the env's own."""
        return worker_environ(self.prefix, host)

    def remove(self) -> None:
        """Remove an env that `create` made. Raises EnvError for any other env."""
        folder = self.folder
        with folder.claimed():
            if folder.is_finished() and folder.read_marker() is None:
                raise EnvError(f"{folder.prefix} was not made by the sandbox: remove it by hand")
            with folder.changing(processes.control().tag):
                folder.clear()

    def install(self, request: installer.Request, control: processes.Control) -> None:
        """Install what is requested in one call of the resolver, whether or not it is installed already."""
        if not request.lines:
            return
        with installer.arguments(uv_binary(), self.folder.python, request) as command:
            self.call([*command, "--compile-bytecode", *self.installer_options()], control)

    def make_with_pip(self, control: processes.Control) -> None:
        """Create an env with a python and pip at `prefix`, where nothing exists."""
        self.make(control)
        if (self.prefix / "bin" / "pip").exists():
            return
        # pip is not byte-compiled, which would take longer than all other steps. Any version will do: a cached one is
        # taken without asking an index for the newest, if there is one.
        with installer.arguments(uv_binary(), self.folder.python, PIP) as command:
            command += self.installer_options()
            if processes.run([*command, "--offline"], environ=tool_environ(), control=control).status:
                self.call(command, control)

    def call(self, command: Sequence[str], control: processes.Control) -> None:
        """Run a manager or installer. Raises CommandFailed, with its last lines."""
        self.output(f"$ {processes.shown(command)}\n".encode())
        processes.check(command, environ=tool_environ(), control=control, output=self.output, hint=_hint)

    def require_manager(self) -> None:
        if why := self.why_unavailable:
            raise EnvManagerMissing(why)

    def configured(self) -> list[str]:
        """The requirements in the file `env_config_path`."""
        return []

    def conda_packages(self) -> list[str]:
        """The conda packages that are requested."""
        return []

    def conda_channels(self) -> list[str]:
        """Where conda packages are looked for; empty for the channels that the manager is configured with."""
        return []

    def installer_options(self) -> list[str]:
        """Options that the installer needs for envs of this kind."""
        return []

    @abstractmethod
    def find_prefix(self) -> Path:
        """The folder that the env of this name has, or would have."""

    @abstractmethod
    def missing_manager(self) -> str:
        """Why the manager cannot be used; empty if it can."""

    @abstractmethod
    def make(self, control: processes.Control) -> None:
        """Create an env with a python at `prefix`, where nothing exists."""

    def _require_env(self) -> None:
        if not self.exists():
            raise EnvError(f"there is no env {self.env_name!r} at {self.prefix}: create() makes it")


def _hint(tail: list[str]) -> str:
    """What to do about the most common failures."""
    text = "\n".join(tail).lower()
    if "no space left" in text or "os error 28" in text:
        return "the disk is full: free some space, for example by removing unused envs: `sandbox env prune`"
    if any(sign in text for sign in _UNREACHABLE):
        return "the package index cannot be reached: check the network, and the index that pip or uv is configured with"
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
