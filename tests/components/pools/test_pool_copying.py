"""Merging, duplication and downsampling: samples that stay what they are, byte for byte."""

from __future__ import annotations

import collections
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.pools.writing import Outputs
from tests.components.conftest import ComponentProcess
from tests.components.pools.pool_files import done, files, read_pool, refused, unfinished, write_pool

Start = Callable[[str, str], ComponentProcess]
Pool = tuple[list[bytes], bytes]


@pytest.fixture(scope="module")
def merging(start_component: Start) -> ComponentProcess:
    return start_component("pools", "components.pools.merging:DataPoolMerging")


@pytest.fixture(scope="module")
def duplication(start_component: Start) -> ComponentProcess:
    return start_component("pools", "components.pools.duplication:DataPoolDuplication")


@pytest.fixture(scope="module")
def downsampling(start_component: Start) -> ComponentProcess:
    return start_component("pools", "components.pools.downsampling:DataPoolDownsampling")


def written(folder: str, pools: list[Pool]) -> list[str]:
    paths = [Path(folder, f"pool_{number}.jsonl") for number in range(len(pools))]
    for path, (_, content) in zip(paths, pools, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


def ended(samples: list[bytes]) -> bytes:
    return b"".join(sample + b"\n" for sample in samples)


@settings(max_examples=60)
@given(pools=st.lists(files(), min_size=1, max_size=3))
def test_merged_are_the_samples_of_all_pools_as_they_are(merging: ComponentProcess, pools: list[Pool]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = written(folder, pools)
        path = done(merging, {"dataset_path": paths, "export_path": f"{folder}/out"})
        assert Path(path).read_bytes() == ended([sample for samples, _ in pools for sample in samples])
        assert Path(path).name == ("pool_0_merged.jsonl" if len(pools) == 1 else "pool__merged.jsonl")
        assert unfinished(Path(folder)) == []


@settings(max_examples=30)
@given(pool=files(), times=st.sets(st.integers(1, 4), min_size=1).map(sorted))
def test_a_duplicated_pool_comes_again_and_again(duplication: ComponentProcess, pool: Pool, times: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = {"dataset_path": written(folder, [pool])[0], "export_path": folder, "duplicating_times": times}
        paths = done(duplication, config)
        assert paths == [f"{folder}/pool_0_x{count}.jsonl" for count in times]
        for path, count in zip(paths, times, strict=True):
            assert Path(path).read_bytes() == ended(pool[0] * count)


@settings(max_examples=30)
@given(pool=files(), seed=st.integers(0, 5))
def test_a_shuffled_duplicate_holds_the_same_samples(duplication: ComponentProcess, pool: Pool, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = {"dataset_path": written(folder, [pool]), "export_path": folder, "duplicating_times": [3]}
        (path,) = done(duplication, {**config, "shuffle_seed": seed})
        first = Path(path).read_bytes()
        assert collections.Counter(first.split(b"\n")) == collections.Counter(ended(pool[0] * 3).split(b"\n"))
        assert done(duplication, {**config, "shuffle_seed": seed, "shuffle": True}) == [path]
        assert Path(path).read_bytes() == first, "one seed gives one order"


@settings(max_examples=30)
@given(pools=st.lists(files(), min_size=1, max_size=3), target=st.none() | st.integers(1, 10))
def test_a_draw_takes_no_sample_twice(downsampling: ComponentProcess, pools: list[Pool], target: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = {"dataset_path": written(folder, pools), "export_path": folder, "target_num_samples": target}
        paths = done(downsampling, config)
        wanted = target or min(len(samples) for samples, _ in pools)
        assert paths == [f"{folder}/pool_{number}_{wanted}.jsonl" for number in range(len(pools))]
        for path, (samples, _) in zip(paths, pools, strict=True):
            drawn = collections.Counter(Path(path).read_bytes().split(b"\n")[:-1])
            assert drawn.total() == min(wanted, len(samples))
            assert drawn <= collections.Counter(samples)


def test_a_seed_draws_what_it_draws_in_data_juicer_sandbox(
    tmp_path: Path, downsampling: ComponentProcess, duplication: ComponentProcess
) -> None:
    pool = write_pool(tmp_path / "a.jsonl", ({"n": number} for number in range(10)))
    config: dict[str, Any] = {"dataset_path": pool, "export_path": str(tmp_path)}
    (path,) = done(downsampling, {**config, "target_num_samples": 6})
    assert [sample["n"] for sample in read_pool(path)] == [5, 6, 0, 7, 3, 2]
    (path,) = done(downsampling, {**config, "target_num_samples": 4, "shuffle_seed": 7})
    assert [sample["n"] for sample in read_pool(path)] == [8, 0, 7, 1]
    (path,) = done(duplication, {**config, "duplicating_times": 1, "shuffle": True})
    assert [sample["n"] for sample in read_pool(path)] == [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]


def test_pools_larger_than_a_block_are_copied_and_drawn_from_as_well(
    tmp_path: Path, downsampling: ComponentProcess, merging: ComponentProcess
) -> None:
    rows = [{"n": number, "text": "ü" * (number % 700)} for number in range(20_000)]
    rows[777]["text"] = "x" * 20_000_000
    pools = [write_pool(tmp_path / f"{name}.jsonl", rows) for name in "ab"]
    (path,) = done(downsampling, {"dataset_path": pools[0], "export_path": str(tmp_path)})
    assert sorted(read_pool(path), key=lambda row: row["n"]) == rows
    merged = done(merging, {"dataset_path": pools, "export_path": str(tmp_path)})
    assert Path(merged).read_bytes() == Path(pools[0]).read_bytes() * 2


def test_a_pool_without_a_common_prefix_and_a_single_pool_have_names(tmp_path: Path, merging: ComponentProcess) -> None:
    a, b = (write_pool(tmp_path / name, [{"n": 1}]) for name in ("a.jsonl", "b.x.jsonl"))
    config: dict[str, Any] = {"export_path": str(tmp_path / "out")}
    assert done(merging, {**config, "dataset_path": [a, b]}) == f"{tmp_path}/out/default_prefix_merged.jsonl"
    assert done(merging, {**config, "dataset_path": [b]}) == f"{tmp_path}/out/b.x_merged.jsonl"
    named = {**config, "dataset_path": [a, b], "default_prefix": "mine"}
    assert done(merging, named) == f"{tmp_path}/out/mine_merged.jsonl"


def test_a_pool_smaller_than_the_target_is_taken_whole_and_that_is_told(
    tmp_path: Path, downsampling: ComponentProcess
) -> None:
    pool = write_pool(tmp_path / "a.jsonl", [{"n": 1}, {"n": 2}])
    ran = downsampling.run({"dataset_path": pool, "export_path": str(tmp_path), "target_num_samples": 5})
    assert ran.result == [f"{tmp_path}/a_5.jsonl"]
    assert "2 of 2 samples" in ran.log
    assert "the whole pool: 5 were asked for" in ran.log


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": \n', r"p\.jsonl, line 2: not a JSON object: '\{\"a\":'"),
        (b'{"a": 1}\n\n\n[1]\n', r"p\.jsonl, line 4: not a JSON object: '\[1\]'"),
        (b'{"a": 1}\nnot a sample', r"p\.jsonl, line 2: not a JSON object: 'not a sample'"),
        (b"", r"p\.jsonl contains no samples; remove it"),
        (b"\n \n", r"p\.jsonl contains no samples"),
    ],
)
def test_what_is_no_pool_is_refused_with_file_and_line(
    tmp_path: Path, merging: ComponentProcess, content: bytes, message: str
) -> None:
    good = write_pool(tmp_path / "good.jsonl", [{"n": 1}])
    (tmp_path / "p.jsonl").write_bytes(content)
    config = {"dataset_path": [good, str(tmp_path / "p.jsonl")], "export_path": str(tmp_path / "out")}
    assert re.search(message, refused(merging, config))
    assert list((tmp_path / "out").iterdir()) == []


def test_blank_lines_are_passed_over_and_told(tmp_path: Path, merging: ComponentProcess) -> None:
    (tmp_path / "p.jsonl").write_bytes(b'{"a": 1}\n\n{"a": 2}\n\n')
    ran = merging.run({"dataset_path": str(tmp_path / "p.jsonl"), "export_path": str(tmp_path)})
    assert "p.jsonl: 2 blank lines are skipped (line 2 is the first)" in ran.log


def test_settings_that_cannot_be_are_refused_by_their_key(
    tmp_path: Path, merging: ComponentProcess, duplication: ComponentProcess, downsampling: ComponentProcess
) -> None:
    pool = write_pool(tmp_path / "a.jsonl", [{"n": 1}])
    other = write_pool(tmp_path / "other" / "a.jsonl", [{"n": 1}])
    gone = str(tmp_path / "gone.jsonl")
    base: dict[str, Any] = {"dataset_path": pool, "export_path": str(tmp_path / "out")}

    assert f"data_pool_merging: dataset_path: not found: {gone}" in refused(
        merging, {**base, "dataset_path": [pool, gone]}
    )
    assert f"{pool} is named twice" in refused(merging, {**base, "dataset_path": [pool, pool]})
    assert "dataset_path: expected `array` of length >= 1" in refused(merging, {**base, "dataset_path": []})
    (tmp_path / "link.jsonl").symlink_to(pool)
    linked = str(tmp_path / "link.jsonl")
    assert f"which is the same as {pool}, is named twice" in refused(merging, {**base, "dataset_path": [pool, linked]})
    for process, more in ((duplication, {"duplicating_times": [2]}), (downsampling, {})):
        assert "have the same name, and would both be written to" in refused(
            process, {**base, **more, "dataset_path": [pool, other]}
        )
    for wrong in (0, -1, True, "2", 1.5, [], [2, 0], [2, 2]):
        assert "data_pool_duplication: duplicating_times" in refused(duplication, {**base, "duplicating_times": wrong})
    for wrong in (0, -1, True, "2", 1.5):
        assert "target_num_samples: expected `int" in refused(downsampling, {**base, "target_num_samples": wrong})
    assert "shuffle_seed: " in refused(downsampling, {**base, "shuffle_seed": "x"})
    assert "shuffle: expected `bool" in refused(duplication, {**base, "duplicating_times": 2, "shuffle": "yes"})
    assert "export_path: cannot make the folder" in refused(merging, {**base, "export_path": f"{pool}/out"})
    assert "data_pool_merging: export_path: " in refused(merging, {**base, "export_path": None})
    merged = write_pool(tmp_path / "out" / "a_merged.jsonl", [{"n": 1}])
    itself = {**base, "dataset_path": [pool, merged]}
    assert f"export_path: the job would overwrite its own input {merged}" in refused(merging, itself)
    assert read_pool(merged) == [{"n": 1}]


def test_without_unnamed_files_a_link_at_a_name_that_could_be_guessed_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)  # opening the folder fails, as on NFS
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / f".out.jsonl.{os.getpid()}").symlink_to(precious)
    with Outputs() as outputs, outputs.lines(str(tmp_path / "out.jsonl"), "") as lines:
        lines.write(b"{}\n")
    assert (tmp_path / "out.jsonl").read_bytes() == b"{}\n"
    assert precious.read_text() == "precious"
