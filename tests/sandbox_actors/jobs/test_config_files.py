"""Configs that are read when a job starts: small ones in a thread, large ones in a process, with the same errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_actors.errors import ConfigError
from sandbox_actors.jobs.config_files import MAX_CONFIG, SMALL, read_config_file

pytestmark = pytest.mark.real

PADDING = "# \n" * SMALL


async def test_a_large_file_is_read_as_a_small_one_is(tmp_path: Path) -> None:
    for name, padding in (("small.yaml", ""), ("large.yaml", PADDING)):
        (tmp_path / name).write_text(f"{padding}a: [1, 2.5, null, ö]\n")
        assert await read_config_file(name, str(tmp_path)) == {"a": [1, 2.5, None, "ö"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [("- 1", "must contain a mapping"), ("a: [", "not YAML"), ("a: {api_key: hunter2}", r"a\.api_key: everyone")],
)
async def test_errors_of_a_large_file_are_those_of_a_small_one(tmp_path: Path, text: str, message: str) -> None:
    for padding in ("", PADDING):
        (tmp_path / "config.yaml").write_text(f"{padding}{text}\n")
        with pytest.raises(ConfigError, match=message) as refused:
            await read_config_file("config.yaml", str(tmp_path))
        assert refused.value.problems[0].file == str(tmp_path / "config.yaml")
        assert "hunter2" not in str(refused.value)


async def test_a_missing_file_and_a_config_that_is_too_large_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file"):
        await read_config_file("none.yaml", str(tmp_path))
    (tmp_path / "large.json").write_text(f'{{"a": "{"x" * MAX_CONFIG}"}}')
    with pytest.raises(ConfigError, match=f"a config may have {MAX_CONFIG}: put long lists into data files"):
        await read_config_file("large.json", str(tmp_path))
