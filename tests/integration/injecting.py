"""A daemon in which any of its awaits can be made to raise: `injecting.py CONTROL` runs one.

Theory of operation. A point is a place where the daemon's code awaits: an `await`, or the entry or the exit of an
`async with`, or a step of an `async for`. An import hook rewrites the daemon's modules so that each point is reported
to `Control` before it awaits and again afterwards; nothing else is changed. `Control` is a file that the test and the
daemon both have mapped: the test writes there which point is to raise what, the daemon how often each was reached.
So a point is armed and observed in a running daemon without asking it for anything.

Points are numbered in the order of the source, which both sides read.
"""

from __future__ import annotations

import ast
import errno
import importlib.machinery
import mmap
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, Literal

ROOT = Path(__file__).parents[2]
ROOMS = ("daemon", "jobs", "actors", "store", "transport", "system")
"""Folders of `sandbox_actors` whose code runs in the daemon's tasks."""

Side = Literal["before", "after"]
SIDES: tuple[Side, ...] = ("before", "after")
"""`before`: instead of what is awaited. `after`: it has happened, and its result is lost."""


def store_error() -> Exception:
    from sandbox_actors.errors import StoreError

    return StoreError("injected")


ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: RuntimeError("injected"),
    lambda: OSError(errno.EMFILE, "injected"),
    lambda: MemoryError("injected"),
    store_error,
)


@dataclass(frozen=True)
class Point:
    """`text` is the line of the source, shortened."""

    number: int
    module: str
    function: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.number}: {self.module.removeprefix('sandbox_actors.')}:{self.line} {self.function}: {self.text}"


class Control:
    """The shared file: what is armed, how often something was raised, and how often each point was reached."""

    _ARMED, _SIDE, _ERROR, _RAISED, _FIRST = range(5)

    def __init__(self, path: Path, points: int = 0) -> None:
        """`points`: make the file for so many."""
        if points:
            path.write_bytes(bytes(4 * (self._FIRST + points)))
        with path.open("r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), 0)).cast("i")

    # --- in the test ---

    def arm(self, point: int, side: Side, error: int) -> None:
        """Let `point` raise the next time that it is reached."""
        self._cells[self._SIDE], self._cells[self._ERROR], self._cells[self._RAISED] = SIDES.index(side), error, 0
        self._cells[self._ARMED] = point + 1

    def disarm(self) -> None:
        self._cells[self._ARMED] = 0

    @property
    def has_raised(self) -> bool:
        return self._cells[self._RAISED] > 0

    def take_reached(self) -> set[int]:
        """The points that were reached since the last call."""
        reached = {number for number, count in enumerate(self._cells[self._FIRST :]) if count}
        for number in reached:
            self._cells[self._FIRST + number] = 0
        return reached

    # --- in the daemon ---

    def reach(self, point: int, side: int) -> None:
        cells = self._cells
        cells[self._FIRST + point] = 1
        if cells[self._ARMED] == point + 1 and cells[self._SIDE] == side:
            cells[self._ARMED] = 0
            cells[self._RAISED] = 1
            raise ERRORS[cells[self._ERROR]]()


def sources() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        for path in sorted((ROOT / "sandbox_actors" / room).glob("*.py")):
            yield f"sandbox_actors.{room}.{path.stem}", path


def all_points() -> list[Point]:
    found: list[Point] = []
    for module, path in sources():
        found += Rewriter(module, path.read_text(), len(found)).points
    return found


class Rewriter(ast.NodeTransformer):
    """`tree` is the module with its points reported, numbered from `first`."""

    def __init__(self, module: str, source: str, first: int) -> None:
        self._module, self._lines, self._first = module, source.splitlines(), first
        self._functions: list[str] = []
        self.points: list[Point] = []
        self.tree = ast.fix_missing_locations(self.visit(ast.parse(source)))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._inside(node)

    def _inside(self, node: ast.ClassDef | ast.AsyncFunctionDef | ast.FunctionDef) -> ast.AST:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()
        return node

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        node.value = self._reported("_awaited", node.value)
        return node

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        self.generic_visit(node)
        node.iter = self._reported("_iterated", node.iter)
        return node

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        self.generic_visit(node)
        for item in node.items:
            item.context_expr = self._reported("_entered", item.context_expr)
        return node

    def _reported(self, wrapper: str, value: ast.expr) -> ast.expr:
        number = self._first + len(self.points)
        text = self._lines[value.lineno - 1].strip()[:90]
        self.points.append(Point(number, self._module, ".".join(self._functions), value.lineno, text))
        called = ast.Call(ast.Name(wrapper, ast.Load()), [ast.Constant(number), value], [])
        return ast.copy_location(called, value)


def reporting(control: Control) -> dict[str, Any]:
    """The functions that rewritten code calls."""
    before, after = range(len(SIDES))

    async def awaited(point: int, value: Any) -> Any:
        try:
            control.reach(point, before)
        except Exception:
            if hasattr(value, "close"):
                value.close()  # else Python warns that it was never awaited
            raise
        result = await value
        control.reach(point, after)
        return result

    class Iterated:
        def __init__(self, point: int, value: Any) -> None:
            self._point, self._value = point, value

        def __aiter__(self) -> Iterated:
            self._steps = aiter(self._value)
            return self

        async def __anext__(self) -> Any:
            control.reach(self._point, before)
            item = await anext(self._steps)
            control.reach(self._point, after)
            return item

    class Entered:
        """What is entered is always left again: an error `after` follows its exit."""

        def __init__(self, point: int, value: Any) -> None:
            self._point, self._value = point, value

        async def __aenter__(self) -> Any:
            control.reach(self._point, before)
            return await self._value.__aenter__()

        async def __aexit__(self, *error: Any) -> Any:
            is_handled = await self._value.__aexit__(*error)
            control.reach(self._point, after)
            return is_handled

    return {"_awaited": awaited, "_iterated": Iterated, "_entered": Entered}


class Finder(importlib.machinery.PathFinder):
    """Finds the daemon's modules, to be rewritten."""

    firsts: dict[str, int] = {}
    names: dict[str, Any] = {}

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in cls.firsts:
            return None
        spec = super().find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = Loader(fullname, spec.origin)
        return spec


class Loader(importlib.machinery.SourceFileLoader):
    """Compiles the rewritten module, and keeps no bytecode of it."""

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        return compile(Rewriter(fullname, source, Finder.firsts[fullname]).tree, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: Any) -> None:
        vars(module).update(Finder.names)
        super().exec_module(module)


def install(control: Control) -> None:
    for point in reversed(all_points()):
        Finder.firsts[point.module] = point.number
    Finder.names = reporting(control)
    sys.meta_path.insert(0, Finder)


def main(control: str) -> int:
    install(Control(Path(control)))
    from sandbox_actors.daemon import crashes
    from sandbox_actors.daemon.main import main as daemon
    from sandbox_actors.system import crash_record

    # An error counts as the first one, however soon a test lets the next point raise.
    crashes.CRASH_SECONDS = crash_record.CRASH_SECONDS = 0.0
    return daemon([])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
