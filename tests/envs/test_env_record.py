"""What an env contains, and the same env built again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envs.record import record_of
from envs.repeat import caveats, differences, repeated
from envs.specs import EnvSpec
from sandbox_actors.protocol.rows import EnvRecord
from tests.envs.builders import build
from tests.envs.code_bases import write_code_base, write_wheel
from tests.envs.conda_channel import VERSION, write_channel

PYTHON = platform.python_version()


def record(**fields: Any) -> EnvRecord:
    spec = msgspec.to_builtins(fields.pop("spec", EnvSpec(name="own", deps=("six",))))
    known = {"name": "own", "manager": "uv", "python": PYTHON, "requested": [], "packages": {"six": "1.17.0"}}
    return EnvRecord(**{**known, "spec": spec, **fields})


def built(root: Path, spec: EnvSpec) -> EnvRecord:
    """Build the env of a spec; its record."""
    event = build(root, msgspec.to_builtins(spec))
    assert event["event"] == "ready", event
    return record_of(spec, Path(event["path"]))


def commit(folder: Path) -> None:
    """Make a folder a repository, and commit everything in it."""
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "a change"]):
        subprocess.run(
            ["git", *arguments], cwd=folder, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
        )


@pytest.mark.real
def test_an_env_is_repeated_with_its_versions_although_there_are_newer_ones(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "sandboxed_wheel", "1.0+cpu")
    code = write_code_base(tmp_path / "code", "committed", 1)
    commit(code)
    (tmp_path / "r.txt").write_text(f"--find-links {wheels}\nsandboxed.wheel>=1\n")
    deps = ("iniconfig", f"committed @ git+{code.as_uri()}")
    spec = EnvSpec(name="own", deps=deps, requirements=(str(tmp_path / "r.txt"),))
    first = built(tmp_path / "envs", spec)
    assert first.python == PYTHON
    assert first.requested == ["committed", "iniconfig", "sandboxed_wheel"]
    assert first.packages["sandboxed_wheel"] == "1.0+cpu"
    assert {"pip", "msgspec", "pyzmq"} < first.packages.keys()
    assert first.options == [f"--find-links {wheels}"]
    write_wheel(wheels, "sandboxed_wheel", "2.0")
    (code / "committed.py").write_text('"""A module."""\n__version__ = "9.0"\n')
    commit(code)
    (tmp_path / "r.txt").unlink()
    assert caveats(first) == []
    second = built(tmp_path / "envs", repeated(first))
    assert differences(first, second) == []
    assert repeated(second) == repeated(first)


@pytest.mark.real
def test_an_env_with_conflicting_packages_is_repeated_as_it_was(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "sandboxed_wheel", "1.0")
    write_wheel(wheels, "sandboxed_user", "1.0", requires="sandboxed_wheel>=2")
    post = f"pip install -q --no-deps --no-index --find-links {wheels} sandboxed_user"
    spec = EnvSpec(name="own", deps=("sandboxed_wheel",), find_links=(str(wheels),), post_install=(post,))
    first = built(tmp_path / "envs", spec)
    assert caveats(first) == ["the commands of the spec are run again, and may install something else"]
    assert differences(first, built(tmp_path / "envs", repeated(first))) == []


@pytest.mark.real
def test_a_conda_env_is_recorded_and_repeated_with_both_kinds_of_packages(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "channel")
    file = tmp_path / "environment.yml"
    file.write_text(f"channels: [{channel.as_uri()}]\ndependencies: [python, pip: [six]]\nvariables: {{A: b}}\n")
    first = built(tmp_path / "envs", EnvSpec(name="own", manager="rattler", config=str(file)))
    assert (first.conda, first.requested) == ([f"python={VERSION}=0"], ["python", "six"])
    assert caveats(first) == [f"the variables that {file} sets are not repeated"]
    assert differences(first, built(tmp_path / "envs", repeated(first))) == []


@pytest.mark.real
def test_a_python_package_that_conda_installed_is_recorded_once(tmp_path: Path) -> None:
    site = Path("lib/python3.11/site-packages")
    for name in ("numpy", "six"):
        folder = tmp_path / site / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\nName: no field\n")
    meta = {"name": "numpy", "version": "1.0", "build": "h1", "files": [f"{site}/numpy-1.0.dist-info/METADATA"]}
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "numpy-1.0-h1.json").write_text(json.dumps(meta))
    (tmp_path / "conda-meta" / "other.json").write_text("{}")
    spec = EnvSpec(name="own", manager="conda", packages=("conda-forge::numpy>=1",), deps=("SIX",))
    found = record_of(spec, tmp_path)
    assert (found.manager, found.conda, found.packages) == ("conda", ["numpy=1.0=h1"], {"six": "1.0"})
    assert found.requested == ["numpy", "six"]


def test_the_repeating_spec_pins_every_package_and_drops_files_and_locks() -> None:
    spec = EnvSpec(name="own", deps=("six",), requirements=("/r.txt",), lock="/lock.txt", extra_index=("https://i",))
    origins, packages = {"base": "-e /base"}, {"b": "2", "base": "1"}
    made = repeated(record(spec=spec, options=["--pre"], origins=origins, packages=packages))
    assert made == EnvSpec(
        name="own", python=PYTHON, deps=("--pre", "b==2", "-e /base"), extra_index=("https://i",), no_deps=True
    )


def test_an_env_of_the_user_is_repeated_as_one_of_the_sandbox(tmp_path: Path) -> None:
    own = record(spec=EnvSpec(name="own", path=str(tmp_path)))
    assert repeated(own).path == ""
    (caveat,) = caveats(own)
    assert caveat == f"{tmp_path} is the user's own env: only the packages that were installed in it are repeated"


def test_unknown_keys_in_a_recorded_spec_are_ignored() -> None:
    known = record()
    assert repeated(msgspec.structs.replace(known, spec={**known.spec, "to_come": 1})).deps == ("six==1.17.0",)


def test_differences_compare_normalized_names() -> None:
    then = record(packages={"Py_YAML": "6.0", "gone": "1"}, conda=["python=3.11.7=h0"])
    now = record(packages={"py-yaml": "6.0", "come": "2"}, conda=["python=3.11.8=h0"])
    assert differences(then, now) == [
        "come is 2, and was not installed",
        "conda package python is 3.11.8 h0, and was 3.11.7 h0",
        "gone is not installed, and was 1",
    ]


def test_specs_without_no_deps_keep_their_fingerprints() -> None:
    prints = {EnvSpec(name="own", deps=("six",), no_deps=value).fingerprint for value in (False, True)}
    assert len(prints) == 2
