"""Imports go only down the layers, and only two modules know ZeroMQ."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS: dict[int, str] = {
    0: "errors messages bootstrap __init__",
    1: "paths machine language context plan config",
    2: "storage store zmtp wire weight keys curve transport notices process memory limits stopped work_dir",
    3: "actor strikes gateway capacity code",
    4: "kit environments component_actor records run_folders pool watcher",
    5: "hooks known forecast log_watching kept_runs",
    6: "running exporting coordinator experiments",
    7: "desk daemon",
    8: "remote connection starter client view cli __main__",
}
LEVELS = {f"sandbox_actors.{name}": level for level, names in LAYERS.items() for name in names.split()}

ZMQ_USERS = {"sandbox_actors.curve", "sandbox_actors.connection", "sandbox_actors.worker.link"}
"""TCP with CURVE, the client's side and the worker's: on its Unix sockets the daemon speaks ZMTP itself."""


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text())


def imported(tree: ast.Module, at_module_level: bool = False) -> set[str]:
    """The modules that a module imports; `from package import module` counts as the module."""
    nodes = tree.body if at_module_level else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def level(module: str) -> int | None:
    """Of a module of the core, None for another one."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if ".".join(parts[:length]) in LEVELS:
            return LEVELS[".".join(parts[:length])]
    return None


CORE = [
    (name, tree)
    for name, tree in modules("sandbox_actors")
    if not name.startswith("sandbox_actors.worker") and name != "sandbox_actors"
]


@pytest.mark.parametrize(("name", "tree"), CORE, ids=[name for name, _ in CORE])
def test_every_module_has_a_layer_and_imports_only_downward(name: str, tree: ast.Module) -> None:
    own = level(name)
    assert own is not None, f"{name} is in no layer: add it to LAYERS"
    upward = {target for target in imported(tree) if (level(target) or 0) > own}
    assert not upward, f"{name} (layer {own}) imports from higher layers: {sorted(upward)}"


def test_no_module_of_the_core_is_in_an_import_cycle() -> None:
    names = {name for name, _ in CORE}
    edges = {name: {t for t in imported(tree, at_module_level=True) if t in names} for name, tree in CORE}
    while free := {name for name, targets in edges.items() if not targets & edges.keys()}:
        edges = {name: targets for name, targets in edges.items() if name not in free}
    assert not edges, f"these import each other: {sorted(edges)}"


def test_the_worker_half_imports_nothing_above_the_messages() -> None:
    for name, tree in modules("sandbox_actors/worker"):
        core = {t for t in imported(tree) if t.startswith("sandbox_actors.") and "worker" not in t}
        assert all((level(target) or 0) == 0 for target in core), f"{name} imports {sorted(core)}"


@pytest.mark.parametrize("package", ["components", "envs"])
def test_components_and_envs_import_only_the_lowest_layer_of_the_core(package: str) -> None:
    for name, tree in modules(package):
        core = {t for t in imported(tree) if t.startswith("sandbox_actors.")}
        assert all((level(target) or 0) == 0 for target in core), f"{name} imports {sorted(core)}"


def test_components_import_only_the_standard_library_at_module_level() -> None:
    import sys

    allowed = set(sys.stdlib_module_names) | {"sandbox_actors", "components", "msgspec"}
    for name, tree in modules("components"):
        heavy = {t.split(".")[0] for t in imported(tree, at_module_level=True)} - allowed
        assert not heavy, f"{name} imports {sorted(heavy)} when it is imported itself"


def test_only_the_ends_of_the_wire_know_zeromq() -> None:
    users = {name for name, tree in modules("sandbox_actors") if "zmq" in imported(tree)}
    assert users <= ZMQ_USERS


def test_nothing_unpickles_evaluates_or_loads_unsafe_yaml() -> None:
    for package in ("sandbox_actors", "components", "envs"):
        for name, tree in modules(package):
            assert not imported(tree) & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, name
            calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            assert not calls & {"eval", "exec", "yaml.unsafe_load", "yaml.full_load"}, name
