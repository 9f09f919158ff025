"""Construction and combination against models that hold everything in memory."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.components.conftest import ComponentProcess
from tests.components.pools.pool_files import (
    done,
    files,
    lines,
    read_pool,
    refused,
    texts,
    unfinished,
    values,
    write_pool,
)

Start = Callable[[str, str], ComponentProcess]
Pool = tuple[list[bytes], bytes]


@pytest.fixture(scope="module")
def construction(start_component: Start) -> ComponentProcess:
    return start_component("pools", "components.pools.construction:DataPoolConstruction")


@pytest.fixture(scope="module")
def combination(start_component: Start) -> ComponentProcess:
    return start_component("pools", "components.pools.combination:DataPoolCombination")


whole = st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1)
broken = st.floats(-2, 2).map(lambda value: round(value, 1)) | st.floats(allow_nan=False, allow_infinity=False)
kinds = {
    "whole": whole,
    "broken": broken,
    "mixed": st.integers(-3, 3) | broken,
    "flag": st.booleans(),
    "list": st.lists(st.integers(-3, 3) | st.floats(-2, 2), max_size=3),
    "text": texts,
    "texts": st.lists(texts, max_size=2),
}
analysed = st.sets(st.sampled_from(sorted(kinds)), min_size=1).flatmap(
    lambda names: files(
        st.fixed_dictionaries(
            {"text": texts, "__dj__stats__": st.fixed_dictionaries({name: kinds[name] for name in sorted(names)})}
        )
    )
)


def key(value: Any) -> float:
    if isinstance(value, list):
        return statistics.fmean(value) if value else 0
    return value


def cut(samples: list[bytes], points: list[int]) -> list[bytes]:
    bounds = [0, *points, len(samples)]
    parts = [samples[begin:end] for begin, end in itertools.pairwise(bounds)]
    return [b"".join(sample + b"\n" for sample in part) for part in parts]


@settings(max_examples=80)
@given(pool=analysed, ratios=st.none() | st.just(["1/4", 0.5]), count=st.none() | st.integers(1, 4))
def test_a_dataset_is_sorted_by_each_stat_in_turn_and_cut(
    construction: ComponentProcess, pool: Pool, ratios: list[Any] | None, count: int | None
) -> None:
    samples, content = pool
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "d.v1.jsonl").write_bytes(content)
        config = {"dataset_path": f"{folder}/d.v1.jsonl", "export_path": f"{folder}/o", "split_ratios": ratios}
        held = [json.loads(sample)["__dj__stats__"] for sample in samples]
        stats = [name for name in held[0] if "text" not in name or all(row[name] == [] for row in held)]
        if not stats:
            assert "no sample has a numeric stat" in refused(construction, config)
            return
        paths = done(construction, {**config, "split_num": count})
        shares = [0.25, 0.5] if ratios else [1 / 3, 2 / 3]
        points = [int(len(samples) * share + 0.5) for share in shares]
        points = list(range(count, len(samples), count)) if count else points
        expected = {}
        for stat in stats:
            samples = sorted(samples, key=lambda sample: key(json.loads(sample)["__dj__stats__"][stat]))
            for number, part in enumerate(cut(samples, points)):
                expected[f"{folder}/o/{stat}/d.v1_{stat}_{number}.jsonl"] = part
        assert paths == list(expected)
        assert {path: Path(path).read_bytes() for path in paths} == expected
        assert unfinished(Path(folder)) == []


@settings(max_examples=30)
@given(pool=files(), count=st.none() | st.integers(1, 4))
def test_a_dataset_without_stats_is_cut_in_its_order(
    construction: ComponentProcess, pool: Pool, count: int | None
) -> None:
    samples, content = pool
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "d.jsonl").write_bytes(content)
        config = {"dataset_path": f"{folder}/d.jsonl", "export_path": folder, "ignore_stats": True, "split_num": count}
        paths = done(construction, config)
        points = [int(len(samples) * share + 0.5) for share in (1 / 3, 2 / 3)]
        parts = cut(samples, list(range(count, len(samples), count)) if count else points)
        assert paths == [f"{folder}/d_ignore_stats_{number}.jsonl" for number in range(len(parts))]
        assert [Path(path).read_bytes() for path in paths] == parts


def content(sample: Any) -> Any:
    """Hashable, and equal for samples of the same content."""
    if isinstance(sample, dict):
        return frozenset((name, content(value)) for name, value in sample.items() if value is not None)
    if isinstance(sample, list):
        return tuple(map(content, sample))
    return (isinstance(sample, bool), sample)


few = st.sampled_from([{}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": None}, {"a": 10**20}, {"a": 1e20}, {"a": "1"}])
more = (
    few
    | st.fixed_dictionaries({"b": st.lists(few, max_size=2), "c": st.integers(0, 1)})
    | st.dictionaries(texts, values)
)


@settings(max_examples=80)
@given(pools=st.lists(files(more), min_size=1, max_size=4))
def test_every_choice_of_pools_gives_the_samples_in_all_of_them(
    combination: ComponentProcess, pools: list[Pool]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder, f"top{number}.jsonl") for number in range(len(pools))]
        for path, (_, written) in zip(names, pools, strict=True):
            path.write_bytes(written)
        paths = done(combination, {"dataset_path": [str(path) for path in names], "export_path": f"{folder}/o"})
        expected = {}
        for size in range(1, len(pools) + 1):
            for ranks in sorted(itertools.combinations(range(len(pools)), size), key=lambda ranks: ranks[::-1]):
                others = [{content(json.loads(line)) for line in pools[rank][0]} for rank in ranks]
                firsts = {content(json.loads(line)): line for line in reversed(pools[ranks[0]][0])}
                kept = [line for identity, line in reversed(firsts.items()) if all(identity in each for each in others)]
                kept.sort(key=pools[ranks[0]][0].index)
                prefix = "top0" if len(pools) == 1 else "top"
                name = f"{prefix}_top_{'_'.join(map(str, ranks))}_num_{len(kept)}.jsonl"
                if kept:
                    expected[f"{folder}/o/{name}"] = b"".join(line + b"\n" for line in kept)
        assert paths == list(expected)
        assert {path: Path(path).read_bytes() for path in paths} == expected


@settings(max_examples=50)
@given(sample=st.dictionaries(texts, values, max_size=3), data=st.data())
def test_a_sample_is_itself_in_whatever_dress(
    combination: ComponentProcess, sample: dict[str, Any], data: st.DataObject
) -> None:
    turned = dict(reversed(sample.items()))
    dresses = [data.draw(lines(st.just(each))) for each in (sample, turned, {**sample, "not there": None})]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.jsonl") for number in range(3)]
        for path, dress in zip(paths, dresses, strict=True):
            path.write_bytes(dress)
        written = done(combination, {"dataset_path": [str(path) for path in paths], "export_path": f"{folder}/o"})
        assert written[-1] == f"{folder}/o/default_prefix_top_0_1_2_num_1.jsonl"
        assert len(written) == 7


GOOD = {"text": "x", "__dj__stats__": {"a": 1, "b": [1, 2]}}


def analysed_with(**stats: Any) -> dict[str, Any]:
    return {"text": "x", "__dj__stats__": {"a": 1, "b": [1, 2], **stats}}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"text": "x"}, "line 2: no stats (__dj__stats__); analyse the dataset"),
        ({"text": "x", "__dj__stats__": {"a": 1}}, "line 2: no stat 'b', which"),
        (analysed_with(c=1), "line 2: a stat 'c', which"),
        (analysed_with(a="1"), "line 2: stat 'a': must be a number, not '1'"),
        (analysed_with(a=None), "line 2: stat 'a': must be a number, not null"),
        (analysed_with(a=[1]), "line 2: stat 'a': must be a number, not [1]"),
        (analysed_with(b=1), "line 2: stat 'b': must be a list of numbers, not 1"),
        (analysed_with(b=["x"]), "line 2: stat 'b': must be a list of numbers, not ['x']"),
        (analysed_with(a=math.nan), "line 2: not JSON: JSON is malformed: invalid character"),
        (analysed_with(a=10**400), "line 2: "),
        ({"text": "x", "__dj__stats__": [1]}, "line 2: Expected `object | null`, got `array`"),
    ],
)
def test_a_sample_that_cannot_be_sorted_is_told_with_file_and_line(
    tmp_path: Path, construction: ComponentProcess, sample: dict[str, Any], message: str
) -> None:
    pool = write_pool(tmp_path / "p.jsonl", [GOOD, sample, GOOD])
    refusal = refused(construction, {"dataset_path": pool, "export_path": str(tmp_path / "o")})
    assert f"{pool}, {message}" in refusal
    assert list((tmp_path / "o").iterdir()) == []


def test_lines_are_counted_as_in_the_file_with_its_blank_ones(
    tmp_path: Path, construction: ComponentProcess, combination: ComponentProcess
) -> None:
    good = json.dumps(GOOD)
    (tmp_path / "p.jsonl").write_text(f'\n{good}\n\n\n{good}\n{{"a": 1e}}\n')
    for process in (construction, combination):
        refusal = refused(process, {"dataset_path": str(tmp_path / "p.jsonl"), "export_path": str(tmp_path)})
        assert "p.jsonl, line 6: not JSON" in refusal
    (tmp_path / "q.jsonl").write_text(f"{good}\n{good}{good}\n{good}\n")
    refusal = refused(construction, {"dataset_path": str(tmp_path / "q.jsonl"), "export_path": str(tmp_path)})
    assert "q.jsonl, line 2: not JSON: JSON is malformed: trailing characters" in refusal


def test_what_is_passed_over_is_told(tmp_path: Path, construction: ComponentProcess) -> None:
    pool = write_pool(tmp_path / "p.jsonl", [analysed_with(lang="en", tags=["a"], box={"x": 1})])
    ran = construction.run({"dataset_path": pool, "export_path": str(tmp_path)})
    assert len(ran.result) == 6, "two stats, three parts each, of one sample"
    assert [len(read_pool(path)) for path in ran.result] == [0, 1, 0] * 2
    assert "stats that are not numbers are skipped: lang, tags, box" in ran.log


@pytest.mark.parametrize(
    ("key", "wrong", "message"),
    [
        ("split_ratios", [0.6, 0.3], "the shares must ascend"),
        ("split_ratios", [0.5, "1/2"], "the shares must ascend"),
        ("split_ratios", [0, 0.5], "shares between 0 and 1"),
        ("split_ratios", ["3/2"], "shares between 0 and 1"),
        ("split_ratios", ["a third"], "shares between 0 and 1"),
        ("split_ratios", ["1/0"], "shares between 0 and 1"),
        ("split_ratios", [True], "shares between 0 and 1"),
        ("split_num", 0, "expected `int` >= 1"),
        ("split_num", "2", "expected `int | null`, got `str`"),
        ("ignore_stats", "no", "expected `bool`, got `str`"),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused_by_its_key(
    tmp_path: Path, construction: ComponentProcess, key: str, wrong: Any, message: str
) -> None:
    pool = write_pool(tmp_path / "p.jsonl", [GOOD])
    refusal = refused(construction, {"dataset_path": pool, "export_path": str(tmp_path), key: wrong})
    assert f"ConfigError: data_pool_construction: {key}: {message}" in refusal


def test_a_stat_whose_name_leads_out_of_the_folder_is_refused(tmp_path: Path, construction: ComponentProcess) -> None:
    pool = write_pool(tmp_path / "p.jsonl", [{"__dj__stats__": {"../x": 1}}])
    assert "the stat '../x' cannot be the name of a folder" in refused(
        construction, {"dataset_path": pool, "export_path": str(tmp_path / "o")}
    )


def test_pools_that_meet_in_too_many_ways_are_refused(tmp_path: Path, combination: ComponentProcess) -> None:
    pools = [write_pool(tmp_path / f"p{number}.jsonl", [{"a": 1}]) for number in range(20)]
    refusal = refused(combination, {"dataset_path": pools, "export_path": str(tmp_path / "o")})
    assert "in common in more than 65536 ways" in refusal
    disjoint = [write_pool(tmp_path / f"p{number}.jsonl", [{"a": number}]) for number in range(20)]
    assert len(done(combination, {"dataset_path": disjoint, "export_path": str(tmp_path / "o")})) == 20
