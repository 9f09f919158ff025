"""All hooks by name: the built-in ones, those of other packages, and classes of the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.class_attributes import declared
from components.entry_points import HOOKS as HOOK_GROUP
from components.entry_points import Registry
from components.factories import Entry, described
from components.struct_settings import JOB_KEYS
from sandbox_actors.dotted import is_target
from sandbox_actors.errors import ConfigError, Problem, did_you_mean
from sandbox_actors.experiment.hook_specs import HookSpec
from sandbox_actors.experiment.model import JOB_LISTS, Config, Job
from sandbox_actors.hooks.base import Hook
from sandbox_actors.hooks.builtin import BUILTIN_HOOKS
from sandbox_actors.hooks.call import Call


class OwnHook(Hook):
    """A hook that is a class of the user's own: it runs in a worker as components do, and gets both configs."""

    def __init__(self, target: str, package: str = "") -> None:
        self.entry = described(Entry(target=target, package=package, is_own=True))

    @property
    def spec(self) -> HookSpec:
        folders = [str(Path(self.entry.package).parent)] if self.entry.package else []
        lists = declared(self.entry.target, folders).get("lists", JOB_LISTS)
        return HookSpec(name=self.entry.target, factories=(), lists=lists)

    def call(self, dj_configs: Config, extra_configs: Config, analysis: dict[str, Any]) -> Call:
        given = extra_configs if isinstance(extra_configs, dict) else {}
        env = {key: given[key] for key in JOB_KEYS if key in given}  # read by `Call.env`
        return Call(entry=self.entry, config={**env, "dj_configs": dj_configs, "extra_configs": extra_configs})


class Hooks(Mapping[str, Hook]):
    """The built-in hooks, and those that other packages register. A `module:Class` can be looked up too."""

    def __init__(self) -> None:
        self._registered = Registry(HOOK_GROUP)

    def __getitem__(self, name: str) -> Hook:
        if name in BUILTIN_HOOKS:
            return BUILTIN_HOOKS[name]
        if is_target(name):
            return OwnHook(name)
        return OwnHook(*self._registered[name])

    def __iter__(self) -> Iterator[str]:
        return iter({**BUILTIN_HOOKS, **dict.fromkeys(self._registered)})

    def __len__(self) -> int:
        return len(set(self))


ALL_HOOKS = Hooks()


def find_hook(name: str) -> Hook:
    """Raises ConfigError if there is no such hook."""
    if name not in ALL_HOOKS:
        raise ConfigError(
            [Problem("the experiment", "hook", f"there is no hook {name!r}{did_you_mean(name, ALL_HOOKS)}")]
        )
    return ALL_HOOKS[name]


def component_folders(job: Job, cwd: str) -> list[str]:
    """The folders that a job adds to the worker's `sys.path`. A relative one is below `cwd`."""
    return [os.path.join(cwd, os.path.expanduser(job.component_path))] if job.component_path else []
