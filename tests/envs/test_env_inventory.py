"""Listing envs, and removing those that are neither being built nor in use."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from envs.builder import find_built
from envs.inventory import disk_usage, find_env, list_envs, prune, remove_env
from envs.specs import EnvSpec
from sandbox_actors.errors import NotFound, Refused
from tests.envs.builders import BuilderProcess, build

pytestmark = pytest.mark.real

SPEC = {"deps": ["six"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "envs"


def test_an_empty_folder_has_no_envs(root):
    assert list_envs(root) == []
    with pytest.raises(NotFound, match="there is no env 'x'"):
        find_env(root, "x")


def test_an_env_is_listed_with_its_facts_and_found_by_each_of_its_names(root):
    ready = build(root, SPEC)
    (env,) = list_envs(root)
    assert (env.name, env.path, env.state, env.manager) == ("env", ready["path"], "ready", "uv")
    assert env.fingerprint == ready["fingerprint"]
    assert env.spec["deps"] == ["six"]
    assert 100_000 < env.own_bytes <= env.size_bytes
    assert env.pids == []
    for name in ("env", Path(ready["path"]).name, ready["path"], ready["fingerprint"][:8]):
        assert find_env(root, name) == env
    with pytest.raises(NotFound, match="did you mean 'env'"):
        find_env(root, "evn")


def test_an_ambiguous_name_is_an_error_that_lists_the_folders(root):
    first, second = build(root, SPEC), build(root, {})
    with pytest.raises(NotFound, match="several envs are called 'env'"):
        find_env(root, "env")
    assert find_env(root, first["fingerprint"]).path == first["path"]
    os.utime(Path(first["path"], ".sandbox-env.json"), (1, 1))
    assert [env.path for env in list_envs(root)] == [second["path"], first["path"]]


def test_finding_a_built_env_counts_as_using_it(root):
    ready = build(root, SPEC)
    os.utime(Path(ready["path"], ".sandbox-env.json"), (1, 1))
    assert find_env(root, "env").last_used == 1
    found = find_built(EnvSpec(name="env", deps=("six",)), root)
    assert found is not None
    assert found.reused
    assert find_env(root, "env").last_used > 1
    assert find_built(EnvSpec(name="env", deps=("six", "numpy")), root) is None
    assert find_built(EnvSpec(name="env", deps=("six",)), root, ready["fingerprint"][:12] + "0" * 52) is None


def test_an_env_is_removed_with_its_log(root):
    build(root, SPEC)
    assert remove_env(root, "env").name == "env"
    assert list(root.iterdir()) == []


def test_an_env_in_which_a_process_runs_is_not_removed(root, gate):
    ready = build(root, SPEC)
    script = f"import subprocess; subprocess.run({gate.command!r}, shell=True)"
    process = subprocess.Popen([ready["python"], "-c", script])
    gate.wait_until_reached()
    assert list_envs(root)[0].pids == [process.pid]
    with pytest.raises(Refused, match=f"in use by process {process.pid}"):
        remove_env(root, "env")
    assert prune(root, 0) == []
    gate.open()
    process.wait()
    assert [env.path for env in prune(root, 0)] == [ready["path"]]


def test_the_caller_may_refuse_a_removal(root):
    build(root, SPEC)
    with pytest.raises(Refused, match="worker train-1 uses it"):
        remove_env(root, "env", refuse=lambda env: f"worker train-1 uses it, not {env.name} alone")
    assert len(list_envs(root)) == 1


def test_an_env_that_is_being_built_is_not_removed(root, gate):
    with BuilderProcess(root, {"post_install": [gate.command]}) as builder:
        gate.wait_until_reached()
        (env,) = list_envs(root)
        assert env.state == "building"
        with pytest.raises(Refused, match="being built or removed"):
            remove_env(root, Path(env.path).name)
        assert prune(root, 0) == []
        gate.open()
        assert builder.finish()["event"] == "ready"


def test_pruning_removes_incomplete_and_long_unused_envs(root, gate):
    with BuilderProcess(root, {"post_install": [gate.command]}) as builder:
        gate.wait_until_reached()
    assert builder.process.returncode < 0
    old, young = build(root, SPEC), build(root, {})
    failed = build(root, {"deps": ["six==0.0.99"]})
    hour_ago = time.time() - 3600
    for path in (Path(old["path"], ".sandbox-env.json"), Path(failed["log"])):
        os.utime(path, (hour_ago, hour_ago))
    gone = prune(root, 1800)
    assert {env.state for env in gone} == {"ready", "unfinished"}
    assert old["path"] in [env.path for env in gone]
    assert sorted(path.name for path in root.iterdir()) == [Path(young["path"]).name, Path(young["path"]).name + ".log"]


def test_files_shared_with_a_cache_are_not_counted_as_own_bytes(tmp_path):
    cache, env = tmp_path / "cache", tmp_path / "env"
    cache.mkdir()
    env.mkdir()
    (cache / "shared").write_bytes(b"x" * 100_000)
    os.link(cache / "shared", env / "shared")
    (env / "own").write_bytes(b"x" * 10_000)
    os.link(env / "own", env / "own again")
    total, own = disk_usage(env)
    assert total - own >= 100_000
    assert 10_000 <= own < 20_000
