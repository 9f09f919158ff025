"""Requirements: what they name, and what requirements files ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.requirement_files import absolute, flattened, local_path, package_name, project_name
from sandbox_actors.errors import EnvError


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("torch>=2", None),
        ("torch @ https://example.org/torch.whl", None),
        ("git+https://example.org/x.git", None),
        ("-e git+https://example.org/x.git#egg=x", None),
        ("./lib", ("./lib", False)),
        ("../lib[extra]", ("../lib", False)),
        ("/a b/lib", ("/a b/lib", False)),
        ("~/lib ; python_version > '3'", ("~/lib", False)),
        ("-e ./lib", ("./lib", True)),
        ("--editable=lib", ("lib", True)),
        ("lib @ file:///srv/lib", ("/srv/lib", False)),
        ("file:///srv/lib-1.0.whl", ("/srv/lib-1.0.whl", False)),
        (".", (".", False)),
    ],
)
def test_local_paths_are_recognized(requirement, expected):
    assert local_path(requirement) == expected


def test_extras_and_markers_are_kept_when_a_path_is_made_absolute():
    assert absolute("-e ./lib[a,b]", lambda path: Path("/base") / path) == "-e /base/lib[a,b]"
    assert absolute("numpy", lambda path: Path("/base") / path) == "numpy"


def test_names_are_normalized_and_paths_have_none():
    assert package_name("PyZMQ[x]>=26") == "pyzmq"
    assert package_name("Ruamel.Yaml") == "ruamel-yaml"
    assert package_name("./pyzmq") == package_name("-e pyzmq") == ""


def test_a_file_is_read_with_its_includes_each_once(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "all.txt").write_text("-r sub/more.txt  # m\nnumpy \\\n  >=2\n\n# no\n-c limits.txt\n--no-binary x\n")
    (tmp_path / "sub" / "more.txt").write_text("-r ../all.txt\n-e ../lib\n./here\nscipy#egg\n")
    assert flattened([tmp_path / "all.txt"]) == [
        f"-e {tmp_path}/lib",
        f"{tmp_path}/sub/here",
        "scipy#egg",
        "numpy    >=2",
        f"-c {tmp_path}/limits.txt",
        "--no-binary x",
    ]


def test_a_path_that_is_not_beside_the_file_is_looked_up_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "files" / "r.txt").write_text("./lib\n")
    monkeypatch.chdir(tmp_path)
    assert flattened([tmp_path / "files" / "r.txt"]) == [f"{tmp_path}/lib"]


SECRET = "https://me:hunter2@example.org/simple"


@pytest.mark.parametrize("how", ["{file}", "-r {file}", "-c {file}"])
def test_credentials_in_a_file_or_in_one_that_it_names_are_refused_with_the_line_and_not_repeated(how, tmp_path):
    inner, outer = tmp_path / "inner.txt", tmp_path / "outer.txt"
    outer.write_text(how.format(file="inner.txt") if how != "{file}" else "")
    paths = [inner] if how == "{file}" else [outer]
    for line in (f"--index-url {SECRET}", f"pkg @ git+{SECRET}", "x @ https://hunter2@example.org/x.whl"):
        inner.write_text(f"numpy  # not https://a:b@c\n{line}\n")
        with pytest.raises(EnvError, match=r"inner\.txt, line 2: everyone who reads the file sees a secret") as refused:
            flattened(paths)
        assert "hunter2" not in str(refused.value)
    inner.write_text(
        "--index-url https://${USER}:${PASSWORD}@example.org/simple\npkg @ git+ssh://git@example.org/pkg\n"
    )
    flattened(paths)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EnvError, match=r"requirements file .*nowhere\.txt cannot be read"):
        flattened([tmp_path / "nowhere.txt"])


def test_the_name_of_a_project_is_read_from_pyproject_or_setup_cfg(tmp_path):
    assert project_name(tmp_path) == ""
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = old-style\n")
    assert project_name(tmp_path) == "old-style"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "new-style"\n')
    assert project_name(tmp_path) == "new-style"
