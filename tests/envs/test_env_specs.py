"""Env specs: reading them, their errors, and when two of them share an env."""

from __future__ import annotations

import json
import os
import re

import pytest
from msgspec.structs import replace

from envs.specs import EnvSpec, load_spec, slug, spec_from, spec_names
from sandbox_actors.errors import ConfigError, EnvError
from tests.envs.code_bases import write_code_base


def problems(value, **options):
    with pytest.raises(ConfigError) as caught:
        spec_from(value, "mine", base=options.pop("base", None), file="file.yaml", key="envs.mine")
    return str(caught.value)


def test_every_shipped_spec_can_be_read_and_has_a_fingerprint():
    assert "plain" in spec_names()
    for name in spec_names():
        assert re.fullmatch("[0-9a-f]{64}", load_spec(name).fingerprint)


def test_paths_are_looked_up_beside_the_file(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "spec.yaml").write_text(
        "python: 3.10\ndeps: [./lib, -e ./lib, six]\nrequirements: r.txt\nextra_index:\n"
    )
    spec = load_spec(str(tmp_path / "spec.yaml"))
    assert spec.name == "spec"
    assert spec.python == "3.10"
    assert spec.deps == (f"{tmp_path}/lib", f"-e {tmp_path}/lib", "six")
    assert spec.requirements == (f"{tmp_path}/r.txt",)
    assert spec.extra_index == ()


def test_a_misspelled_name_gets_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'plain'"):
        load_spec("plian")


def test_the_folder_of_an_env_is_a_spec_that_uses_it(tmp_path):
    python = tmp_path / "my env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/sh")
    assert load_spec("my env", base=tmp_path) == EnvSpec(name="my_env", path=str(tmp_path / "my env"))


def test_an_env_that_conda_created_is_found_by_its_name(tmp_path, monkeypatch):
    python = tmp_path / "conda" / "envs" / "vision" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/sh")
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text(f"{tmp_path}/conda\n{tmp_path}/conda/envs/vision\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_spec("vision").path == f"{tmp_path}/conda/envs/vision"


def test_errors_name_the_key():
    assert problems({"depz": ["six"]}) == (
        "file.yaml: envs.mine: Object contains unknown field `depz`; did you mean 'deps'?"
    )
    assert "file.yaml: envs.mine.manager: unknown manager 'cnda'; did you mean 'conda'?" in problems(
        {"manager": "cnda"}
    )
    assert "envs.mine.python" in problems({"python": "newest"})
    assert "envs.mine.packages: only conda" in problems({"packages": ["ffmpeg"]})
    assert "envs.mine.deps: an entry is empty" in problems({"deps": [" "]})
    assert "a mapping, or the name" in problems(["six"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"deps": ["pkg @ git+https://hunter2@example.org/pkg"]},
        {"extra_index": "https://me:hunter2@example.org/simple"},
        {"find_links": ["https://example.org/?sig=hunter2"], "manager": "conda"},
        {"channels": ["https://me:hunter2@example.org/channel"], "manager": "conda"},
        {"post_install": [["pip", "install", "--index-url", "HTTPS://me:hunter2@example.org"]]},
        {"unknown https://me:hunter2@example.org": 1},
        {"variables": {"HF_TOKEN": "hunter2"}},
    ],
)
def test_credentials_in_a_spec_are_refused_and_not_repeated(wrong, tmp_path):
    (tmp_path / "spec.yaml").write_text(json.dumps(wrong))
    with pytest.raises(ConfigError, match="everyone who reads the file sees a secret") as refused:
        load_spec("spec.yaml", tmp_path)
    assert "hunter2" not in str(refused.value)


def test_credentials_in_the_lock_or_the_environment_file_of_a_spec_are_refused(tmp_path):
    (tmp_path / "lock.txt").write_text("pkg @ https://me:hunter2@example.org/pkg.whl")
    (tmp_path / "env.yaml").write_text(
        "dependencies: [python]\nvariables: {HF_ENDPOINT: 'https://me:hunter2@example.org'}"
    )
    for spec in ({"lock": "lock.txt"}, {"config": "env.yaml", "manager": "conda"}):
        with pytest.raises(EnvError, match="everyone who reads the file sees a secret") as refused:
            _ = spec_from(spec, "e", tmp_path, "f").fingerprint
        assert "hunter2" not in str(refused.value)


def test_a_spec_with_another_content_has_another_fingerprint():
    spec = EnvSpec(name="a", deps=("six",))
    others = [
        {"deps": ("six", "numpy")},
        {"manager": "venv"},
        {"python": "3.10"},
        {"extra_index": ("https://example.org/simple",)},
        {"pre_install": ("true",)},
        {"post_install": (("true", "x"),)},
    ]
    assert len({spec.fingerprint, *(replace(spec, **other).fingerprint for other in others)}) == 1 + len(others)


def test_the_name_and_find_links_do_not_change_the_fingerprint(monkeypatch):
    spec = EnvSpec(name="a", deps=("six",))
    before = spec.fingerprint
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
    assert replace(spec, name="b", find_links=("/wheels",)).fingerprint == before


def test_requirements_files_count_by_their_content_with_their_includes(tmp_path):
    outer, inner = tmp_path / "outer.txt", tmp_path / "inner.txt"
    outer.write_text("-r inner.txt\n")
    inner.write_text("six\n")
    spec = EnvSpec(name="a", requirements=(str(outer),))
    before = spec.fingerprint
    inner.write_text("six  # a comment\n")
    assert spec.fingerprint == before
    inner.write_text("six>1\n")
    assert spec.fingerprint != before


def test_constraints_count_by_their_content(tmp_path):
    (tmp_path / "r.txt").write_text("-c limits.txt\nsix\n")
    (tmp_path / "limits.txt").write_text("six<2\n")
    spec = EnvSpec(name="a", requirements=(str(tmp_path / "r.txt"),))
    before = spec.fingerprint
    (tmp_path / "limits.txt").write_text("six<1\n")
    assert spec.fingerprint != before


def test_a_local_folder_counts_by_its_content_and_an_editable_one_by_its_metadata(tmp_path):
    folder = write_code_base(tmp_path / "lib", "lib", 1)
    copied, editable = EnvSpec(name="a", deps=(str(folder),)), EnvSpec(name="a", deps=(f"-e {folder}",))
    before = copied.fingerprint, editable.fingerprint
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "lib.pyc").write_bytes(b"x")
    os.utime(folder / "lib.py", (1, 1))
    assert (copied.fingerprint, editable.fingerprint) == before
    write_code_base(folder, "lib", 2)
    assert copied.fingerprint != before[0]
    assert editable.fingerprint == before[1]
    write_code_base(folder, "lib", 2, '["six"]')
    assert editable.fingerprint != before[1]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(EnvError, match="does not exist"):
        _ = EnvSpec(name="a", deps=(str(tmp_path / "nowhere"),)).fingerprint


def test_an_environment_file_counts_by_its_content(tmp_path):
    file = tmp_path / "environment.yml"
    file.write_text("dependencies: [python=3.11, {pip: [six]}]\n")
    spec = EnvSpec(name="a", manager="conda", config=str(file))
    before = spec.fingerprint
    file.write_text("# the same\nname: other\ndependencies: [python=3.11, {pip: [six]}]\n")
    assert spec.fingerprint == before
    file.write_text("dependencies: [python=3.11, {pip: [six>1]}]\n")
    assert spec.fingerprint != before


def test_a_slug_is_a_valid_folder_name():
    assert slug("a b/$(c)") == "a_b_c"
    assert slug("...") == "env"
