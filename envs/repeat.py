"""The spec that makes an env again from the record of what it contained, and what differs once it is made."""

from __future__ import annotations

import os

import msgspec
from msgspec.structs import replace

from envs.interpreters import python_version
from envs.requirement_files import normalized
from envs.specs import CONDA_MANAGERS, EnvSpec
from sandbox_actors.protocol.rows import EnvRecord


def repeated(record: EnvRecord) -> EnvSpec:
    """A spec of the same name with every package at its recorded version, and nothing else.

    What came from a folder, a file or a repository is installed from there again. Packages are looked for
    where they were, and the same commands are run.
    """
    spec = _recorded_spec(record)
    pins = [record.origins.get(name, f"{name}=={version}") for name, version in record.packages.items()]
    return replace(
        spec,
        manager=record.manager,
        python=_python(spec, record),
        deps=(*record.options, *pins),
        no_deps=True,
        requirements=(),
        lock="",
        packages=tuple(record.conda),
        channels=tuple(record.channels),
        config="",
        path="",
    )


def caveats(record: EnvRecord) -> list[str]:
    """What of an env cannot be repeated for certain, a sentence each."""
    spec = _recorded_spec(record)
    found = []
    for name, origin in record.origins.items():
        if " @ " not in origin:
            how = "is read from" if origin.startswith("-e ") else "is installed from"
            found.append(f"{name} {record.packages[name]} {how} {origin.removeprefix('-e ')} as it is now")
    if spec.path:
        found.append(f"{spec.path} is the user's own env: only the packages that were installed in it are repeated")
    if spec.config:
        found.append(f"the variables that {spec.config} sets are not repeated")
    if spec.pre_install or spec.post_install:
        found.append("the commands of the spec are run again, and may install something else")
    return found


def differences(record: EnvRecord, made: EnvRecord) -> list[str]:
    """In what an env that was made again differs from what was recorded."""
    then, now = _versions(record), _versions(made)
    found = []
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            found.append(f"{name} is {now.get(name, 'not installed')}, and was {then.get(name, 'not installed')}")
    return found


def _recorded_spec(record: EnvRecord) -> EnvSpec:
    known = {key: value for key, value in record.spec.items() if key in EnvSpec.__struct_fields__}
    return msgspec.convert(known, EnvSpec)


def _python(spec: EnvSpec, record: EnvRecord) -> str:
    """The python to ask for: the same interpreter where the spec names one, else one of the same version."""
    if record.manager in CONDA_MANAGERS:
        return ""  # it is one of the conda packages
    is_same = os.sep in spec.python and python_version(spec.python) == record.python
    return spec.python if is_same else record.python


def _versions(record: EnvRecord) -> dict[str, str]:
    conda = (package.split("=") for package in record.conda)
    return {
        "python": record.python,
        **{f"conda package {name}": f"{version} {build}" for name, version, build in conda},
        **{normalized(name): version for name, version in record.packages.items()},
    }
