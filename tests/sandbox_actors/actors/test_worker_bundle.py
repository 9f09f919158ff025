"""What is handed to envs."""

from __future__ import annotations

from pathlib import Path

from sandbox_actors.actors import worker_bundle


def test_the_bundle_holds_what_workers_need_and_nothing_of_the_base_env(tmp_path: Path) -> None:
    made = worker_bundle.lay_out(tmp_path)
    assert worker_bundle.lay_out(tmp_path) == made
    names = {str(path.relative_to(made)) for path in made.rglob("*.py")}
    assert {"sandbox_actors/errors.py", "sandbox_actors/worker/host.py", "components/base.py"} <= names
    rooms = {name.split("/")[1] for name in names if name.startswith("sandbox_actors/")}
    assert rooms == {*worker_bundle.GROUND, "protocol", "worker"}
    assert not [path for path in tmp_path.iterdir() if path != made]
