"""Install requirements into an env in one call of the resolver, and recognize when nothing needs to be installed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from envs.fingerprint import digest
from envs.requirement_files import absolute, flattened, is_editable, local_path, project_name
from sandbox_actors.errors import EnvError
from sandbox_actors.files import user_path, write_whole

STAMPS = ".sandbox-satisfied.json"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to install: lines of a requirements file, with absolute paths, and where else to look for packages."""

    lines: tuple[str, ...]
    extra_index: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_deps: bool = False

    @property
    def key(self) -> str:
        return digest(["install", self.extra_index, self.no_deps], sorted(self.lines))


def lines_of(deps: str | Path | Sequence[str]) -> list[str]:
    """The requirements that a requirements file, a list, or the folder of a code base asks for."""
    if not isinstance(deps, (str, Path)):
        return [absolute(entry, lambda path: user_path(path).absolute()) for entry in checked(deps)]
    path = user_path(deps).absolute()
    if path.is_file():
        return flattened([path])
    if not path.is_dir():
        raise EnvError(f"{path} is not a requirements file or the folder of a code base; pass requirements as a list")
    if (path / "pyproject.toml").exists() or (path / "setup.py").exists():
        return [f"-e {path}"]
    if (path / "requirements.txt").exists():
        return flattened([path / "requirements.txt"])
    raise EnvError(f"{path} contains no pyproject.toml, setup.py or requirements.txt: nothing says what to install")


def checked(requirements: Sequence[str]) -> list[str]:
    """The requirements of a list, if each can be a line of a requirements file. Raises EnvError otherwise."""
    for entry in requirements:
        if not entry.strip() or "\n" in entry or "\r" in entry:
            raise EnvError(f"{entry!r} is not a requirement")
        if entry.lstrip().startswith("-") and not is_editable(entry):
            raise EnvError(f"{entry!r} is an option, not a requirement; write options into a requirements file")
    return list(requirements)


@contextlib.contextmanager
def arguments(uv: str, python: Path, request: Request) -> Iterator[list[str]]:
    """The command that installs what is requested; valid within the block."""
    command = [uv, "pip", "install", "--python", str(python), "--no-progress"]
    command += [f"--extra-index-url={address}" for address in request.extra_index]
    command += [f"--find-links={location}" for location in request.find_links]
    if request.no_deps:
        command.append("--no-deps")
    if request.extra_index:  # as with pip, the best version of all indexes
        command.append("--index-strategy=unsafe-best-match")
    for line in request.lines:  # uv does not notice every change in a folder: it compares the times of a few files
        local = local_path(line)
        if local and (name := project_name(Path(local[0]))):
            command.append(f"--reinstall-package={name}")
    env = python.parent.parent  # a file that a killed builder leaves here is removed with the env
    with tempfile.NamedTemporaryFile("w", prefix="requirements-", suffix=".txt", encoding="utf-8", dir=env) as file:
        file.write("".join(f"{line}\n" for line in request.lines))
        file.flush()
        yield [*command, "--requirements", file.name]


class Stamps:
    """Requests that were installed into an env, each with the digest of all that was installed then."""

    def __init__(self, prefix: Path) -> None:
        self._prefix, self._file = prefix, prefix / STAMPS

    def has(self, request: Request) -> bool:
        """Whether the request was installed, and nothing has been installed or removed since."""
        return self._read().get(request.key) == installed_digest(self._prefix)

    def add(self, request: Request) -> None:
        installed = installed_digest(self._prefix)
        stamps = {key: value for key, value in self._read().items() if value == installed}
        stamps[request.key] = installed
        with contextlib.suppress(OSError):  # in a read-only env, the resolver is asked every time
            write_whole(self._file, msgspec.json.encode(stamps))

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}


def installed_digest(prefix: Path) -> str:
    """Digest of the names and times of what is installed in an env."""
    total = hashlib.sha256()
    for folder in [*sorted(prefix.glob("lib/python3*/site-packages")), *prefix.glob("conda-meta")]:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.endswith((".dist-info", ".egg-info", ".egg-link", ".pth", ".json")):
                    total.update(f"{entry.name}\0{entry.stat().st_mtime_ns}\0".encode())
    return total.hexdigest()
