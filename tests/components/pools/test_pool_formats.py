"""Pools in every format, joined and ranked; and what is left where a job ends early."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base import Config
from components.pools.ranking import DataPoolRanking
from sandbox_actors.errors import ConfigError
from tests.components.conftest import ROOT, ComponentProcess
from tests.components.pools.pool_files import done, files, read_pool, refused, texts, unfinished, values, write_pool

Pool = tuple[list[bytes], bytes]
Get = Callable[[str], ComponentProcess]

MERGING = "merging:DataPoolMerging"
DRAWING = "downsampling:DataPoolDownsampling"
SORTING = "construction:DataPoolConstruction"
COMBINING = "combination:DataPoolCombination"
JOINING = "cartesian_join:DataPoolCartesianJoin"

CONVERT = """
import json, sys
import pyarrow, zstandard
from pyarrow import parquet
kind, source, target = sys.argv[1:]
if kind == "pack":
    open(target, "wb").write(zstandard.compress(open(source, "rb").read()))
elif kind == "unpack":
    with zstandard.open(source, "rb") as packed:
        open(target, "wb").write(packed.read())
elif kind == "to":
    table = pyarrow.Table.from_pylist([json.loads(line) for line in open(source)])
    parquet.write_table(table.replace_schema_metadata({"made": "by a test"}), target, compression="zstd")
else:
    table = parquet.read_table(source)
    assert table.schema.metadata[b"made"] == b"by a test"
    json.dump([table.to_pylist(), str(table.schema)], open(target, "w"))
"""


@pytest.fixture(scope="module")
def process(start_component: Callable[[str, str], ComponentProcess]) -> Get:
    """`process(MERGING)`: one of each component."""
    return cache(lambda target: start_component("pools", f"components.pools.{target}"))


@pytest.fixture(scope="module")
def convert(component_env: Callable[[str], Path]) -> Callable[[str, str, str], str]:
    python = component_env("pools")

    def run(kind: str, source: str, target: str) -> str:
        subprocess.run([python, "-c", CONVERT, kind, source, target], check=True, timeout=60)
        return target

    return run


Convert = Callable[[str, str, str], str]


@settings(max_examples=20)
@given(pool=files())
def test_gzip_comes_out_as_gzip_of_the_same_lines(process: Get, pool: Pool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.jsonl.gz").write_bytes(gzip.compress(pool[1]))
        merged = done(process(MERGING), {"dataset_path": f"{folder}/a.jsonl.gz", "export_path": f"{folder}/o"})
        assert merged == f"{folder}/o/a_merged.jsonl.gz"
        assert gzip.decompress(Path(merged).read_bytes()) == b"".join(line + b"\n" for line in pool[0])
        assert unfinished(Path(folder)) == []


def test_zstd_comes_out_as_zstd_and_what_is_packed_differently_as_plain_lines(
    tmp_path: Path, process: Get, convert: Convert
) -> None:
    plain = write_pool(tmp_path / "a.jsonl", [{"n": number} for number in range(1000)])
    packed = convert("pack", plain, str(tmp_path / "ab.jsonl.zst"))
    merged = done(process(MERGING), {"dataset_path": packed, "export_path": str(tmp_path / "o")})
    assert merged.endswith("/ab_merged.jsonl.zst")
    assert Path(convert("unpack", merged, str(tmp_path / "x"))).read_bytes() == Path(plain).read_bytes()
    both = done(process(MERGING), {"dataset_path": [packed, plain], "export_path": str(tmp_path / "o")})
    assert both.endswith("/a_merged.jsonl")
    assert Path(both).read_bytes() == Path(plain).read_bytes() * 2


@settings(max_examples=40)
@given(
    samples=st.lists(st.dictionaries(texts, values, max_size=3), min_size=1, max_size=5),
    indent=st.none() | st.just(2),
    padding=st.sampled_from([0, 2**20 - 3, 2**20 + 1]),
)
def test_the_elements_of_an_array_become_lines(
    process: Get, samples: list[Any], indent: int | None, padding: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.json").write_text(" " * padding + json.dumps(samples, indent=indent) + "\n")
        merged = done(process(MERGING), {"dataset_path": f"{folder}/a.json", "export_path": f"{folder}/o"})
        assert merged == f"{folder}/o/a_merged.jsonl"
        written = read_pool(merged)
        assert json.dumps(written) == json.dumps(samples), "in the order of keys, with numbers as they were"


@pytest.mark.parametrize("array", ['[{"a": 1}', '[{"a": 1}] {}', '[{"a": 1}, , {}]', '[{"a": 1},]', "[1]", '[{"a": "'])
def test_an_array_that_is_none_is_refused(tmp_path: Path, process: Get, array: str) -> None:
    (tmp_path / "a.json").write_text(array)
    refusal = refused(process(MERGING), {"dataset_path": str(tmp_path / "a.json"), "export_path": str(tmp_path / "o")})
    assert "a.json" in refusal
    assert "sample" in refusal


def test_packed_files_that_are_cut_off_are_refused(tmp_path: Path, process: Get, convert: Convert) -> None:
    plain = write_pool(tmp_path / "a.jsonl", [{"n": number} for number in range(1000)])
    packed = {".gz": gzip.compress(Path(plain).read_bytes())}
    packed[".zst"] = Path(convert("pack", plain, str(tmp_path / "x.zst"))).read_bytes()
    for end, content in packed.items():
        path = tmp_path / f"b.jsonl{end}"
        path.write_bytes(content[: len(content) // 2])
        refusal = refused(process(MERGING), {"dataset_path": str(path), "export_path": str(tmp_path / "o")})
        assert str(path) in refusal
        assert list((tmp_path / "o").iterdir()) == []


def test_a_sharded_export_is_one_pool_by_the_name_of_its_folder(tmp_path: Path, process: Get) -> None:
    folder = tmp_path / "shards"
    for number in range(3):
        write_pool(folder / f"p-0{number}-of-03.jsonl", [{"n": 10 * number + each} for each in range(10)])
    (folder / "p-01-of-03.jsonl").write_bytes((folder / "p-01-of-03.jsonl").read_bytes().rstrip())
    write_pool(folder / "p_stats.jsonl", [{"__dj__stats__": {}}])
    config: dict[str, Any] = {"dataset_path": str(folder), "export_path": str(tmp_path / "o")}
    ran = process(DRAWING).run(config)
    assert ran.result == [f"{tmp_path}/o/shards_30.jsonl"]
    assert "p_stats.jsonl contains only statistics" in ran.log
    assert sorted(row["n"] for row in read_pool(ran.result[0])) == list(range(30))
    merged = done(process(MERGING), config)
    assert [row["n"] for row in read_pool(merged)] == list(range(30))
    (tmp_path / "empty").mkdir()
    assert "no pool in this folder" in refused(process(MERGING), {**config, "dataset_path": str(tmp_path / "empty")})
    (tmp_path / "a.txt").write_text("x")
    assert "a pool must be a file that ends in .jsonl" in refused(
        process(MERGING), {**config, "dataset_path": str(tmp_path / "a.txt")}
    )


def analysed(number: int) -> dict[str, Any]:
    return {"text": f"é{number}", "n": None if number % 7 == 0 else number, "__dj__stats__": {"len": number * 7 % 11}}


def test_parquet_keeps_its_schema_and_its_values(tmp_path: Path, process: Get, convert: Convert) -> None:
    rows = [analysed(number) for number in range(20_000)]
    pool = convert("to", write_pool(tmp_path / "a.jsonl", rows), str(tmp_path / "a.parquet"))
    other = convert("to", write_pool(tmp_path / "b.jsonl", rows[:30]), str(tmp_path / "b.parquet"))
    out = str(tmp_path / "o")

    def held(path: str) -> tuple[list[Any], str]:
        read = json.loads(Path(convert("from", path, str(tmp_path / "held.json"))).read_text())
        return read[0], read[1]

    schema = held(pool)[1]
    parts = done(process(SORTING), {"dataset_path": pool, "export_path": out, "split_num": 10_000})
    assert parts == [f"{out}/len/a_len_{number}.parquet" for number in range(2)]
    ordered = sorted(rows, key=lambda row: row["__dj__stats__"]["len"])
    assert held(parts[0]) == (ordered[:10_000], schema)
    assert held(parts[1]) == (ordered[10_000:], schema)
    (drawn,) = done(process(DRAWING), {"dataset_path": other, "export_path": out, "target_num_samples": 3})
    assert drawn == f"{out}/b_3.parquet"
    assert len(held(drawn)[0]) == 3
    merged = done(process(MERGING), {"dataset_path": [pool, other], "export_path": out})
    assert held(merged) == (rows + rows[:30], schema)
    common = done(process(COMBINING), {"dataset_path": [pool, other], "export_path": out})
    assert [Path(path).name[-24:] for path in common][-1].endswith("top_0_1_num_30.parquet")
    assert held(common[-1]) == (rows[:30], schema)


def test_parquet_meets_only_its_like(tmp_path: Path, process: Get, convert: Convert) -> None:
    lines = write_pool(tmp_path / "a.jsonl", [{"a": 1}])
    one = convert("to", lines, str(tmp_path / "one.parquet"))
    two = convert("to", write_pool(tmp_path / "b.jsonl", [{"a": "x"}]), str(tmp_path / "two.parquet"))
    out = {"export_path": str(tmp_path / "o")}
    assert "pools of one job must be of one kind" in refused(process(MERGING), {**out, "dataset_path": [lines, one]})
    refusal = refused(process(MERGING), {**out, "dataset_path": [one, two]})
    assert f"{two} has different columns from {one}: a is string, not int64" in refusal
    (tmp_path / "no.parquet").write_text("no")
    refusal = refused(process(MERGING), {**out, "dataset_path": str(tmp_path / "no.parquet")})
    assert f"cannot read {tmp_path}/no.parquet" in refusal
    three = convert("to", write_pool(tmp_path / "c.jsonl", [{"b": 1}, {"b": 2}]), str(tmp_path / "three.parquet"))
    (joined,) = done(process(JOINING), {**out, "dataset_path_1": one, "dataset_path_2": three})
    assert json.loads(Path(convert("from", joined, str(tmp_path / "x"))).read_text())[0] == [
        {"a": 1, "b": 1},
        {"a": 1, "b": 2},
    ]


named = {key: st.dictionaries(st.sampled_from([f"{key}1", f"{key}2"]), values, max_size=2) for key in "xy"}


@settings(max_examples=60)
@given(
    ours=st.lists(files(named["x"]), min_size=1, max_size=2), theirs=st.lists(files(named["y"]), min_size=1, max_size=2)
)
def test_every_sample_is_joined_with_every_other(process: Get, ours: list[Pool], theirs: list[Pool]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, list[str]] = {"ours": [], "theirs": []}
        for name, pools in (("ours", ours), ("theirs", theirs)):
            for number, (_, content) in enumerate(pools):
                Path(folder, f"{name}_{number}.jsonl").write_bytes(content)
                paths[name].append(f"{folder}/{name}_{number}.jsonl")
        config = {"dataset_path_1": paths["ours"], "dataset_path_2": paths["theirs"], "export_path": f"{folder}/o"}
        written = done(process(JOINING), config)
        prefix = "_".join(f"{name}_0" if len(paths[name]) == 1 else f"{name}_" for name in paths)
        for path, ((i, one), (j, other)) in zip(
            written, itertools.product(enumerate(ours), enumerate(theirs)), strict=True
        ):
            assert path == f"{folder}/o/{prefix}_cartesian_join_{i}_{j}.jsonl"
            pairs = itertools.product(one[0], other[0])
            expected = [{**json.loads(left), **json.loads(right)} for left, right in pairs]
            assert json.dumps(read_pool(path)) == json.dumps(expected)


def test_a_key_of_both_pools_is_refused_by_name_and_place(tmp_path: Path, process: Get) -> None:
    one = write_pool(tmp_path / "one.jsonl", [{"a": 1}, {"id": 1}])
    two = write_pool(tmp_path / "two.jsonl", [{"b": 1}, {"b": 1}, {"id": 1}])
    config = {"dataset_path_1": one, "dataset_path_2": [two], "export_path": str(tmp_path / "o")}
    assert f"both have a key 'id': {one}, line 2, and {two}, line 3" in refused(process(JOINING), config)


def ranked(**config: Any) -> list[str]:
    return DataPoolRanking(Config(config)).run()


def test_pools_are_ranked_by_their_metrics() -> None:
    pools = ["a", "b", "c", "d"]
    assert ranked(dataset_path=pools, metrics=[1, 3, 2, 3]) == ["b", "d", "c", "a"]
    assert ranked(dataset_path=pools, metrics=[1, 3, 2, 3], descending=False) == ["a", "c", "b", "d"]
    assert ranked(dataset_path=pools, metrics=[1, 3, 2, 3], top_n=2) == ["b", "d"]
    assert ranked(dataset_path=pools, metrics=[1, 3, 2, 3], top_n=9) == ["b", "d", "c", "a"]
    metrics = [{"a": {"b": 1}, "x.y": 0}, {"a": {"b": 1}, "x.y": 2}, {"a": {"b": 2}, "x.y": 1}, {"a.b": 0, "x.y": 0}]
    assert ranked(dataset_path=pools, metrics=metrics, ranking_keys=["a.b", "x.y"]) == ["c", "b", "a", "d"]
    assert ranked(dataset_path=pools, metrics=metrics, ranking_keys="x.y") == ["b", "c", "a", "d"]


def test_a_pool_of_which_nothing_was_measured_comes_last() -> None:
    pools, metrics = ["a", "b", "c"], [{"mse": None}, {"mse": 2.0}, {"mse": 1.0}]
    assert ranked(dataset_path=pools, metrics=metrics, ranking_keys="mse", descending=False) == ["c", "b", "a"]
    assert ranked(dataset_path=pools, metrics=metrics, ranking_keys="mse") == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"metrics": [1]}, "metrics: one for each pool is required: 2, not 1"),
        ({"metrics": {"a": 1}}, "metrics: expected `array`, got `object`"),
        ({"metrics": [1, float("nan")]}, "metrics: the metric of b must be a number, not nan"),
        ({"metrics": [1, "2"]}, "metrics: the metric of b must be a number, not '2'"),
        ({"metrics": [{"x": 1}, {"x": 2}]}, "name the numbers in it by ranking_keys"),
        ({"metrics": [{"x": 1}, {}], "ranking_keys": ["x"]}, "metrics: 'x' of b must be a number, but is missing"),
        ({"metrics": [None, None]}, "metrics: null of every pool"),
        ({"metrics": [1, 2], "top_n": 0}, "top_n: expected `int` >= 1"),
        ({"metrics": [1, 2], "dataset_path": ["a", "a"]}, "dataset_path: a is named twice"),
    ],
)
def test_pools_that_cannot_be_ranked_are_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ranked(**{"dataset_path": ["a", "b"], **config})
    assert message in str(caught.value)


def write_large(path: Path) -> str:
    line = json.dumps({"text": "x" * 1000, "__dj__stats__": {"a": 1}}) + "\n"
    path.write_text(line * 50_000)
    return str(path)


WORK = """
import json, sys
from components.pools.duplication import DataPoolDuplication
config = json.loads(sys.argv[1])
limit = config.pop("limit", None)
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
DataPoolDuplication(config).run()
"""


def test_a_killed_job_leaves_nothing(tmp_path: Path, component_env: Callable[[str], Path]) -> None:
    out = tmp_path / "o"
    config = {
        "dataset_path": write_large(tmp_path / "a.jsonl"),
        "export_path": str(out),
        "duplicating_times": [1, 2, 40],
    }
    command = [str(component_env("pools")), "-c", WORK, json.dumps(config)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        deadline = time.monotonic() + 60
        while not written_by(running.pid, out):
            assert running.poll() is None, "the job was over before it could be killed"
            assert time.monotonic() < deadline
        os.kill(running.pid, signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    assert list(out.iterdir()) == []


def written_by(pid: int, folder: Path) -> list[str]:
    """Descriptors of a process that are files in a folder, and have something in them."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(path).startswith(str(folder)) and path.stat().st_size:
                found.append(str(path))
        except OSError:
            continue
    return found


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, component_env: Callable[[str], Path]) -> None:
    out = tmp_path / "o"
    pool = write_pool(tmp_path / "a.jsonl", [{"text": "x" * 1000}] * 100)
    config = {"dataset_path": pool, "export_path": str(out), "duplicating_times": [1, 2, 5], "limit": 250_000}
    ran = subprocess.run(
        [str(component_env("pools")), "-c", WORK, json.dumps(config)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"ComponentFailed: cannot write {out}/a_x5.jsonl: File too large; none of this job's files" in ran.stderr
    assert list(out.iterdir()) == []
