"""What an env contains: the versions of its python and of its packages, and where the packages come from.

Read from what installers leave in the env, since asking each package would take longer: `*.dist-info` of each Python
package, with `direct_url.json` where it does not come from an index, and `conda-meta/*.json` of each conda package.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from envs.builder import requirements_of
from envs.interpreters import python_version
from envs.requirement_files import is_editable, normalized, package_name
from envs.router import env_of
from envs.specs import EnvSpec
from sandbox_actors.protocol.rows import EnvRecord
from sandbox_actors.protocol.secrets import without_credentials

METADATA = ("*.dist-info/METADATA", "*.egg-info/PKG-INFO", "*.egg-info")
_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)
_HEAD = 4096
"""Bytes of a package's metadata in which its name and version are: they come first."""


class _Dir(msgspec.Struct, frozen=True):
    editable: bool = False


class _Vcs(msgspec.Struct, frozen=True):
    vcs: str
    commit_id: str


class _DirectUrl(msgspec.Struct, frozen=True):
    """`direct_url.json`, which Python packaging specifies."""

    url: str
    dir_info: _Dir | None = None
    vcs_info: _Vcs | None = None
    subdirectory: str = ""


class _CondaPackage(msgspec.Struct, frozen=True):
    name: str
    version: str
    build: str
    files: list[str] = []


def record_of(spec: EnvSpec, prefix: Path) -> EnvRecord:
    """What the env of `spec` at `prefix` contains now. Runs its python. EnvError if a file that the spec names is
    gone."""
    env = env_of(spec, prefix)
    requirements = requirements_of(spec, env)
    conda = _conda_packages(prefix)
    of_conda = {file for package in conda for file in package.files}
    packages, origins = {}, {}
    for metadata, name, version in _installed(prefix):
        if str(metadata.relative_to(prefix)) not in of_conda:
            packages[name] = version
            if origin := _origin(name, metadata.with_name("direct_url.json")):
                origins[name] = origin
    asked = {*map(package_name, requirements), *map(_conda_name, env.conda_packages()), *map(normalized, origins)}
    return EnvRecord(
        name=spec.name,
        manager=env.env_manager,
        python=python_version(env.python_executable),
        spec=msgspec.to_builtins(spec),
        requested=[name for name in (*(package.name for package in conda), *packages) if normalized(name) in asked],
        options=[
            line
            for line in requirements
            if line.startswith("-") and not line.startswith("-c ") and not is_editable(line)
        ],
        packages=packages,
        origins=origins,
        channels=env.conda_channels(),
        conda=[f"{package.name}={package.version}={package.build}" for package in conda],
    )


def installed_packages(prefix: Path) -> dict[str, str]:
    """The Python packages of an env by name with their versions, whatever installed them."""
    return {name: version for _, name, version in _installed(prefix)}


def _installed(prefix: Path) -> list[tuple[Path, str, str]]:
    """The metadata file, name and version of each Python package, by name."""
    found = []
    for site in prefix.glob("lib/python3*/site-packages"):
        for metadata in (path for pattern in METADATA for path in site.glob(pattern)):
            try:
                with metadata.open(encoding="utf-8", errors="replace") as file:
                    fields = dict(_FIELD.findall(file.read(_HEAD).partition("\n\n")[0]))
            except OSError:
                continue  # a folder, or being removed just now
            if fields.keys() == {"Name", "Version"}:
                found.append((metadata, fields["Name"], fields["Version"]))
    return sorted(found, key=lambda each: each[1].lower())


def _origin(name: str, file: Path) -> str:
    """The requirement that installs a package again from where it came; empty for one from an index."""
    try:
        origin = msgspec.json.decode(file.read_bytes(), type=_DirectUrl)
    except (OSError, msgspec.DecodeError):
        return ""
    url = without_credentials(origin.url)  # a tool may have kept them, though the standard says not to
    if origin.vcs_info:
        url = f"{origin.vcs_info.vcs}+{url}@{origin.vcs_info.commit_id}"
    elif url.startswith("file:"):
        path = unquote(urlsplit(url).path)
        return f"-e {path}" if origin.dir_info and origin.dir_info.editable else path
    return f"{name} @ {url}" + (f"#subdirectory={origin.subdirectory}" if origin.subdirectory else "")


def _conda_packages(prefix: Path) -> list[_CondaPackage]:
    found = []
    for file in sorted(prefix.glob("conda-meta/*.json")):
        try:
            found.append(msgspec.json.decode(file.read_bytes(), type=_CondaPackage))
        except (OSError, msgspec.DecodeError):
            continue  # not the record of a package
    return found


def _conda_name(package: str) -> str:
    """The name in a conda package specification such as `conda-forge::numpy>=2`."""
    return normalized(re.split(r"[\s=<>!~\[]", package.rpartition("::")[2].strip(), maxsplit=1)[0])
