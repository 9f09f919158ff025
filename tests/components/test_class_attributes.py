"""What a class of the user's says of itself, read and never run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.class_attributes import LARGE, declared
from components.factories import Entry, described


def source(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(folder)


def test_literals_in_the_body_of_a_class_are_read_without_running_its_module(tmp_path: Path) -> None:
    folder = source(
        tmp_path,
        "raise SystemExit\n"
        "class Mine(Base):\n"
        "    model_fields = ('model', 'seed')\n"
        "    env: str = 'transformers'\n"
        "    is_light = True\n"
        "    reads = ['data']\n",
    )
    assert declared("mine:Mine", [folder]) == {
        "model_fields": ("model", "seed"),
        "env": "transformers",
        "is_light": True,
        "reads": ("data",),
    }


def test_what_it_inherits_in_its_module_counts_and_what_is_no_literal_or_misfits_does_not(tmp_path: Path) -> None:
    folder = source(
        tmp_path / "site",
        "class Base:\n    env = 'plain'\n    model_fields = ('a',)\n"
        "class Mine(Base, other.Thing):\n    model_fields = FIELDS\n    env = 3\n    is_light = 'yes'\n",
        "package/sub/__init__.py",
    )
    assert declared("package.sub:Mine", [str(tmp_path), folder]) == {"env": "plain", "model_fields": ("a",)}


@pytest.mark.parametrize("text", ["class Other:\n    env = 'x'\n", "class Mine(:\n", "\0"])
def test_a_class_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    assert declared("mine:Mine", [source(tmp_path, text)]) == {}
    assert declared("absent.module:Mine", [str(tmp_path)]) == {}


def test_a_change_of_the_file_is_seen(tmp_path: Path) -> None:
    for second, env in enumerate(("a", "b")):
        folder = source(tmp_path, f"class Mine:\n    env = {env!r}\n")
        os.utime(tmp_path / "mine.py", (second, second))
        assert described(Entry(target="mine:Mine", is_own=True), [folder]).env == env


def test_a_struct_of_the_same_module_says_the_keys_and_which_are_required(tmp_path: Path) -> None:
    folder = source(
        tmp_path,
        "class Common(msgspec.Struct):\n    model: str\n    seed: int = 1\n"
        "class Settings(Common):\n    steps: int\n    rate: float = 0.1\n"
        "class Mine(Base):\n    settings_type = Settings\n    reads = ('model',)\n"
        "    required = ('rate',)\n",
    )
    found = declared("mine:Mine", [folder])
    assert found["keys"] == ("model", "seed", "steps", "rate")
    assert found["required"] == ("model", "steps", "rate")
    assert found["reads"] == ("model",)


def test_a_class_that_lists_its_keys_accepts_those_that_any_config_may_have(tmp_path: Path) -> None:
    folder = source(tmp_path, "class Mine(Base):\n    keys = ('steps',)\n")
    keys = described(Entry(target="mine:Mine", is_own=True), [folder]).keys
    assert keys == ("steps", "type", "env_name", "env_manager", "env_params")


@pytest.mark.real
def test_a_large_source_is_read_by_a_process_of_its_own_with_the_same_result(tmp_path: Path) -> None:
    source = "class Mine:\n    env = 'plain'\n    keys = ('a', 'b')\n    needs_gpu = True\n"
    (tmp_path / "small.py").write_text(source)
    (tmp_path / "large.py").write_text(source + f"# {'x' * 70}\n" * (LARGE // 64))
    expected = {"env": "plain", "keys": ("a", "b"), "needs_gpu": True}
    for module in ("small", "large"):
        assert declared(f"{module}:Mine", [str(tmp_path)]) == expected


@pytest.mark.parametrize(
    "source", ["(" * 100_000, f"class Mine:\n    env = {'-' * 5_000}1\n", "class Mine:\n    env = -'a'\n"]
)
def test_a_source_that_cannot_be_read_declares_nothing(tmp_path: Path, source: str) -> None:
    (tmp_path / "mine.py").write_text(source[:LARGE])
    assert declared("mine:Mine", [str(tmp_path)]) == {}
