"""The rooms of the house, in order: imports go only down the list. Only the ends of the wire know ZeroMQ."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ROOMS = (
    "__main__",
    "cli",
    "daemon",
    "jobs",
    "client",
    "actors",
    "hooks",
    "experiment_file",
    "store",
    "transport",
    "worker",
    "experiment",
    "system",
    "protocol",
    "dotted files home",
    "errors version bootstrap __init__",
)
"""From the roof to the ground: a room imports from itself and from those below it, never from one above."""

FLOORS = {room: floor for floor, rooms in enumerate(reversed(ROOMS)) for room in rooms.split()}

PURE = {"experiment": {"experiment", "dotted", "errors"}, "protocol": {"protocol", "errors", "version"}}
"""What these rooms may import of `sandbox_actors`; nothing there opens a file, a socket or a process of its own."""

ZMQ_USERS = {
    "sandbox_actors.transport.curve_router",
    "sandbox_actors.client.connection",
    "sandbox_actors.worker.link",
}
"""TCP with CURVE, the client's side and the worker's: on its Unix sockets the daemon speaks ZMTP itself."""


def modules(package: str) -> list[tuple[str, ast.Module]]:
    """The modules below a folder; there are always some, or a rule that holds for each would hold for nothing."""
    found = [
        (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), ast.parse(path.read_text()))
        for path in sorted((ROOT / package).rglob("*.py"))
    ]
    assert found, f"there is no module below {package}"
    return found


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


def room_of(module: str) -> str:
    """The room of a module of the core: its folder, or itself where it lies at the root."""
    _, _, inner = module.partition(".")
    return inner.split(".")[0] or "__init__"


def rooms_in(tree: ast.Module) -> set[str]:
    """The rooms of the core that a module imports from."""
    return {room_of(target) for target in imported(tree) if target.startswith("sandbox_actors.")} & FLOORS.keys()


CORE = modules("sandbox_actors")


@pytest.mark.parametrize(("name", "tree"), CORE, ids=[name for name, _ in CORE])
def test_every_module_has_a_room_and_imports_only_downward(name: str, tree: ast.Module) -> None:
    own = room_of(name)
    assert own in FLOORS, f"{name} is in no room: add it to ROOMS"
    if name == "sandbox_actors":
        return  # hands `Client` on, which is imported when it is asked for
    upward = {room for room in rooms_in(tree) if FLOORS[room] > FLOORS[own]}
    assert not upward, f"{name} imports from rooms above its own: {sorted(upward)}"


def test_every_room_has_modules() -> None:
    assert {room_of(name) for name, _ in CORE} == FLOORS.keys()


def test_few_files_lie_outside_of_the_rooms_and_none_is_long() -> None:
    assert len(list((ROOT / "sandbox_actors").glob("*.py"))) <= 8
    for package in ("sandbox_actors", "components", "envs"):
        for path in (ROOT / package).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 400, f"{path.relative_to(ROOT)} has more than 400 lines"


def test_no_module_of_the_core_is_in_an_import_cycle() -> None:
    names = {name for name, _ in CORE}
    edges = {name: {t for t in imported(tree, at_module_level=True) if t in names} for name, tree in CORE}
    assert sum(map(len, edges.values())) > len(edges)
    while free := {name for name, targets in edges.items() if not targets & edges.keys()}:
        edges = {name: targets for name, targets in edges.items() if name not in free}
    assert not edges, f"these import each other: {sorted(edges)}"


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_imports_from_few_others(room: str) -> None:
    for name, tree in modules(f"sandbox_actors/{room}"):
        assert rooms_in(tree) <= PURE[room], f"{name} imports from {sorted(rooms_in(tree) - PURE[room])}"


def test_the_worker_half_imports_nothing_above_the_protocol() -> None:
    for name, tree in modules("sandbox_actors/worker"):
        others = rooms_in(tree) - {"worker"}
        assert all(FLOORS[room] <= FLOORS["protocol"] for room in others), f"{name} imports from {sorted(others)}"


@pytest.mark.parametrize("package", ["components", "envs"])
def test_components_and_envs_import_only_the_ground_of_the_core(package: str) -> None:
    for name, tree in modules(package):
        others = rooms_in(tree)
        assert all(FLOORS[room] <= FLOORS["protocol"] for room in others), f"{name} imports from {sorted(others)}"


def test_components_import_only_the_standard_library_at_module_level() -> None:
    allowed = set(sys.stdlib_module_names) | {"sandbox_actors", "components", "msgspec"}
    for name, tree in modules("components"):
        heavy = {t.split(".")[0] for t in imported(tree, at_module_level=True)} - allowed
        assert not heavy, f"{name} imports {sorted(heavy)} when it is imported itself"


def test_only_the_ends_of_the_wire_know_zeromq() -> None:
    assert {name for name, tree in CORE if "zmq" in imported(tree)} == ZMQ_USERS


def test_nothing_unpickles_evaluates_or_loads_unsafe_yaml() -> None:
    for package in ("sandbox_actors", "components", "envs"):
        for name, tree in modules(package):
            assert not imported(tree) & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, name
            calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            assert not calls & {"eval", "exec", "yaml.unsafe_load", "yaml.full_load"}, name
