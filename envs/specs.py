"""Env specs: what an env is built from, as data. Read from `configs/envs/`, a file, or an experiment's `envs`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from envs.conda_yaml import read_environment_file
from envs.env_folder import EnvFolder, default_root
from envs.fingerprint import digest, host_python, path_digest
from envs.interpreters import VERSION, version_text
from envs.requirement_files import NAME, absolute, flattened
from sandbox_actors.bootstrap import wants_newest
from sandbox_actors.errors import ConfigError, Problem, did_you_mean
from sandbox_actors.files import user_path
from sandbox_actors.protocol.secrets import ADVICE, find_secrets, without_secrets

SPEC_FOLDER = Path(__file__).resolve().parent.parent / "configs" / "envs"
LOCK_FOLDER = SPEC_FOLDER.with_name("locks")
VIRTUAL_MANAGERS = ("uv", "venv", "virtualenv")
CONDA_MANAGERS = ("conda", "mamba", "micromamba", "rattler")
MANAGERS = (*VIRTUAL_MANAGERS, *CONDA_MANAGERS)
_LISTS = ("deps", "requirements", "packages", "channels", "extra_index", "find_links", "pre_install", "post_install")


class EnvSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What an env is built from. All paths are absolute: the functions that read specs resolve them.

    manager       one of MANAGERS
    python        version, such as `3.11`; empty for the one that runs the daemon
    deps          requirements as pip takes them; a local folder is installed as it is now, `-e FOLDER` editable
    requirements  requirements files
    lock          a file of versions, as pip takes constraints; specs of `configs/envs` have theirs in `configs/locks`.
                  Ignored if SANDBOX_NEWEST is set
    packages      conda packages (conda-like managers only)
    channels      conda channels, first one first
    config        a conda environment file, to which the other keys add
    extra_index   more indexes to find deps in; like `find_links`, in addition to what the machine is configured with
    no_deps       `deps` are installed without the packages that they depend on
    pre_install, post_install   commands run in the env before and after deps are installed; a string is run by
                  /bin/sh
    path          an env that its user manages: it is used as it is, and packages are only added
    """

    name: str
    manager: str = "uv"
    python: str = ""
    deps: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    lock: str = ""
    packages: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    config: str = ""
    extra_index: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_deps: bool = False
    pre_install: tuple[str | tuple[str, ...], ...] = ()
    post_install: tuple[str | tuple[str, ...], ...] = ()
    path: str = ""

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits, which differ if the envs built from two specs would differ.

        Reads the files and folders that the spec names. Raises EnvError if one is missing.
        """
        recipe = msgspec.structs.asdict(self)
        del recipe["name"], recipe["find_links"]
        if not self.no_deps:
            del recipe["no_deps"]  # the fingerprints of specs without it are as they were before the key existed
        recipe["python"] = self.python or host_python()
        recipe["lock"] = path_digest(Path(self.lock)) if self.lock else ""
        flattened([self.lock] if self.lock else [])  # raises for a secret
        recipe["config"] = read_environment_file(Path(self.config)) if self.config else None
        pip = recipe["config"].pip if self.config else ()
        recipe["requirements"] = ()
        return digest(recipe, [*self.deps, *flattened(self.requirements), *pip])


def load_spec(name_or_path: str, base: Path | None = None) -> EnvSpec:
    """The spec of that name in `configs/envs/`, or the spec file at that path; else a spec for the env at that path, or
    for the sandbox's or conda's env of that name. A relative path is looked up from `base`, by default the current
    folder. Raises ConfigError.
    """
    base = base or Path.cwd()
    known = spec_names()
    if name_or_path in known:
        return _locked(_read(SPEC_FOLDER / f"{name_or_path}.yaml"))
    path = (base / user_path(name_or_path)).resolve()
    if path.is_file():
        return _read(path)
    for folder in (path, default_root() / name_or_path, *_conda_envs(name_or_path)):
        if EnvFolder(folder).is_finished():
            return EnvSpec(name=slug(folder.name), path=str(folder))
    raise ConfigError(
        [
            Problem(
                without_secrets(name_or_path), "", f"no env spec or env of that name{did_you_mean(name_or_path, known)}"
            )
        ]
    )


def _locked(spec: EnvSpec) -> EnvSpec:
    """A shipped spec with the versions that it was tested with, unless the newest ones are requested."""
    lock = LOCK_FOLDER / f"{spec.name}.txt"
    return msgspec.structs.replace(spec, lock=str(lock)) if lock.exists() and not wants_newest() else spec


def spec_names() -> list[str]:
    return sorted(path.stem for path in SPEC_FOLDER.glob("*.yaml"))


def spec_from(value: Any, name: str, base: Path, file: str, key: str = "") -> EnvSpec:
    """A spec from a value in a file: a mapping, or the name or path of a spec. Errors name `file` and `key`.

    A secret is refused here, before anything is done with the spec.
    """
    if isinstance(value, str):
        return load_spec(value, base)
    if not isinstance(value, Mapping):
        raise ConfigError([Problem(file, key, "an env must be a mapping, or the name or path of an env spec")])
    if secrets := list(find_secrets(value)):
        raise ConfigError(
            [Problem(file, ".".join(map(str, [*filter(None, [key]), *keys])), ADVICE) for keys in secrets]
        )
    try:
        spec = msgspec.convert({"name": name, **{str(k): _as_list(k, v) for k, v in value.items()}}, EnvSpec)
    except msgspec.ValidationError as error:
        raise ConfigError([Problem(file, key, f"{error}{_nearest_field(value)}")]) from error
    if problems := [Problem(file, f"{key}.{field}".lstrip("."), text) for field, text in _wrong(spec)]:
        raise ConfigError(problems)
    return _resolved(spec, base)


def slug(name: str) -> str:
    """The name as the name of a folder: everything except letters, digits, dots, dashes and underscores is replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-") or "env"


def _conda_envs(name: str) -> list[Path]:
    """The conda envs of that name, from the list that conda-like managers keep of the envs that they create."""
    try:
        listed = Path(os.path.expanduser("~/.conda/environments.txt")).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [Path(line) for line in listed if Path(line).name == name and Path(line).parent.name == "envs"]


def _read(path: Path) -> EnvSpec:
    try:
        with path.open(encoding="utf-8") as stream:
            value = yaml.safe_load(stream)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error}")]) from error
    if not isinstance(value, Mapping):
        raise ConfigError([Problem(str(path), "", "an env spec must be a mapping")])
    return spec_from(value, path.stem, path.parent, str(path))


def _as_list(field: Any, value: Any) -> Any:
    """A value in the type of its field: a list for one string, text for the number in `python: 3.11`, and an empty
    value for a key without one."""
    if value is None:
        return [] if field in _LISTS else ""
    if field in _LISTS and isinstance(value, str):
        return [value]
    return version_text(value) if field == "python" and isinstance(value, (int, float)) else value


def _wrong(spec: EnvSpec) -> list[tuple[str, str]]:
    problems = []
    if not NAME.fullmatch(spec.name):
        problems.append(("name", f"{spec.name!r} must consist of letters, digits, dots, dashes and underscores"))
    if spec.manager not in MANAGERS:
        problems.append(("manager", f"unknown manager {spec.manager!r}{did_you_mean(spec.manager, MANAGERS)}"))
    if spec.python and "/" not in spec.python and not VERSION.fullmatch(spec.python):
        problems.append(("python", f"{spec.python!r} must be a version such as '3.11', or the path of a python"))
    if spec.manager in VIRTUAL_MANAGERS:
        problems += [
            (field, f"only {', '.join(CONDA_MANAGERS)} support this, and the manager is {spec.manager}")
            for field in ("packages", "channels", "config")
            if getattr(spec, field)
        ]
    for field in ("deps", "requirements", "packages", "channels", "extra_index", "find_links"):
        if any(not entry.strip() for entry in getattr(spec, field)):
            problems.append((field, "an entry is empty"))
    return problems


def _resolved(spec: EnvSpec, base: Path) -> EnvSpec:
    def find(path: str) -> Path:
        return (base / user_path(path)).resolve()

    def placed(path: str) -> str:
        return str(find(path)) if path and "://" not in path else path

    return msgspec.structs.replace(
        spec,
        deps=tuple(absolute(entry, find) for entry in spec.deps),
        requirements=tuple(placed(path) for path in spec.requirements),
        find_links=tuple(placed(path) for path in spec.find_links),
        channels=tuple(placed(path) if path.startswith(("/", "./", "../", "~")) else path for path in spec.channels),
        config=placed(spec.config),
        lock="" if wants_newest() else placed(spec.lock),
        path=placed(spec.path),
    )


def _nearest_field(value: Mapping[Any, Any]) -> str:
    unknown = [str(key) for key in value if str(key) not in EnvSpec.__struct_fields__]
    return did_you_mean(unknown[0], EnvSpec.__struct_fields__) if unknown else ""
