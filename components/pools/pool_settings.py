"""The settings of the jobs on data pools, and the checks of their paths."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from components.base import BaseDataPoolManipulator
from components.struct_settings import read_settings
from sandbox_actors.errors import ConfigError, Problem

Count = Annotated[int, msgspec.Meta(ge=1)]
Seed = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Texts = Text | Annotated[list[Text], msgspec.Meta(min_length=1)]
Prefix = Annotated[str, msgspec.Meta(pattern=r"^[^/]+$")]
"""Prefix of the name of a file."""

S = TypeVar("S", bound="JobSettings")


class JobSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Base. `job` is the config's `type`, for messages; `is_strict`: a text is not a number."""

    job: ClassVar[str]
    is_strict: ClassVar[bool] = True

    @classmethod
    def read(cls: type[S], config: Mapping[str, Any]) -> S:
        """Raises ConfigError for an unknown key, and for a value that does not fit."""
        return read_settings(config, cls, cls.job)

    def problem(self, key: str, message: str) -> ConfigError:
        return ConfigError([Problem(self.job, key, message)])


class PoolSettings(JobSettings, frozen=True, kw_only=True):
    """Settings of a job that writes into the folder `export_path`."""

    export_path: Text

    def paths(self, key: str = "dataset_path") -> list[str]:
        """The pools as absolute paths. Raises ConfigError if one does not exist or is named twice."""
        paths = [os.path.abspath(os.path.expanduser(path)) for path in as_list(getattr(self, key))]
        if missing := [path for path in paths if not os.path.exists(path)]:
            raise self.problem(key, f"not found: {', '.join(missing)}")
        named: dict[str, str] = {}
        for path in paths:
            real = os.path.realpath(path)
            if real in named:
                same = "" if named[real] == path else f", which is the same as {named[real]},"
                raise self.problem(key, f"{path}{same} is named twice")
            named[real] = path
        return paths

    def folder(self) -> str:
        """`export_path` as an absolute path; made if it does not exist."""
        path = os.path.abspath(os.path.expanduser(self.export_path))
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise self.problem("export_path", f"cannot make the folder {path}: {error.strerror}") from error
        if not os.access(path, os.W_OK | os.X_OK):
            raise self.problem("export_path", f"cannot write into the folder {path}")
        return path


class PoolJob(BaseDataPoolManipulator):
    """Base of the jobs that make pools out of pools."""

    env, is_light = "pools", True
    reads: ClassVar[tuple[str, ...]] = ("dataset_path",)


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
