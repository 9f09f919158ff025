"""A package of another env is imported in a worker without the packages beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from sandbox_actors.worker.package_import import import_package
import_package({path!r})
{then}
"""
ROOT = str(Path(__file__).parents[3])


def run(path: Path, then: str) -> str:
    program = PROGRAM.format(root=ROOT, path=str(path), then=then)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for file in ("given/__init__.py", "given/part.py", "space/part.py", "single.py", "beside.py"):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"name = {file!r}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("package", "module"), [("given", "given.part"), ("space", "space.part"), ("single.py", "single")]
)
def test_a_package_can_be_imported_with_all_its_modules(site: Path, package: str, module: str) -> None:
    assert run(site / package, f"import {module}; print({module}.name)").strip().startswith(package.split(".")[0])


def test_packages_beside_it_cannot_be_imported(site: Path) -> None:
    assert "No module named 'beside'" in run(site / "given", "import beside")


def test_a_package_that_raises_is_not_left_half_imported(site: Path) -> None:
    (site / "given" / "__init__.py").write_text("raise RuntimeError('half made')")
    again = [f"try: import_package({str(site / 'given')!r})", "except RuntimeError as error: print(error)"]
    assert run(site / "single.py", "\n".join(again * 2)) == "half made\nhalf made\n"
