"""What the jobs on data pools are told by their configs, checked before any work starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sandbox_actors.errors import ConfigError, Problem


class Settings:
    """A config, read key by key. What is wrong with a value is raised as a ConfigError that names its key."""

    def __init__(self, config: Mapping[str, Any], job: str) -> None:
        self._config, self._job = config, job

    def problem(self, key: str, message: str) -> ConfigError:
        return ConfigError([Problem(self._job, key, message)])

    def get(self, key: str, default: Any = None) -> Any:
        """None counts as not given."""
        value = self._config.get(key)
        return default if value is None else value

    def paths(self, key: str = "dataset_path") -> list[str]:
        """The pools, as absolute paths, each of them there and none of them twice."""
        paths = [os.path.abspath(os.path.expanduser(path)) for path in self.texts(key)]
        if missing := [path for path in paths if not os.path.exists(path)]:
            raise self.problem(key, f"there is no {' and no '.join(missing)}")
        named: dict[str, str] = {}
        for path in paths:
            real = os.path.realpath(path)
            if real in named:
                same = "" if named[real] == path else f", which is the same as {named[real]},"
                raise self.problem(key, f"{path}{same} is named twice")
            named[real] = path
        return paths

    def texts(self, key: str) -> list[str]:
        """One text, or a list of texts that is not empty."""
        given = self.get(key)
        values = [given] if isinstance(given, str) else given
        if not isinstance(values, list) or not values or not all(isinstance(each, str) and each for each in values):
            raise self.problem(key, f"a path or a list of paths is wanted here, not {given!r}")
        return values

    def folder(self, key: str = "export_path") -> str:
        """A folder to write into, as an absolute path, made where it is not there yet."""
        given = self.get(key)
        if not isinstance(given, str) or not given:
            raise self.problem(key, f"the folder to write into is wanted here, not {given!r}")
        path = os.path.abspath(os.path.expanduser(given))
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise self.problem(key, f"cannot make the folder {path}: {error.strerror}") from error
        if not os.access(path, os.W_OK | os.X_OK):
            raise self.problem(key, f"cannot write into the folder {path}")
        return path

    def count(self, key: str, default: int | None = None) -> int | None:
        """A whole number, at least 1."""
        value: int | None = self.get(key, default)
        if value is not None and not _is_count(value):
            raise self.problem(key, f"a whole number of at least 1 is wanted here, not {value!r}")
        return value

    def counts(self, key: str) -> list[int]:
        """One whole number or a list of them, each at least 1 and none of them twice."""
        given = self.get(key)
        values = [given] if _is_count(given) else given
        if not isinstance(values, list) or not values or not all(map(_is_count, values)):
            raise self.problem(key, f"a list of whole numbers of at least 1 is wanted here, not {given!r}")
        if len(set(values)) < len(values):
            raise self.problem(key, f"the numbers have to differ: {given!r}")
        return values

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.problem(key, f"true or false is wanted here, not {value!r}")
        return value

    def seed(self, key: str = "shuffle_seed") -> int:
        value = self.get(key, 42)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.problem(key, f"a whole number of at least 0 is wanted here, not {value!r}")
        return value

    def text(self, key: str, default: str) -> str:
        value = self.get(key, default)
        if not isinstance(value, str) or not value or os.sep in value:
            raise self.problem(key, f"a name is wanted here, not {value!r}")
        return value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
