"""All hooks by name: the built-in ones, and those that users register."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.class_attributes import declared
from components.entry_points import HOOKS as REGISTERED_HOOKS
from components.entry_points import Registry
from components.factories import Entry, described, is_target
from components.struct_settings import JOB_KEYS
from sandbox_actors.errors import ConfigError, Problem, did_you_mean
from sandbox_actors.experiment.hook_specs import JOB_LISTS, HookSpec
from sandbox_actors.experiment.model import Job
from sandbox_actors.hooks.base import Hook
from sandbox_actors.hooks.builtin import HOOKS
from sandbox_actors.hooks.call import Call


class OwnHook(Hook):
    """A hook of the user's own: a class that runs in a worker as components do, and gets both configs of its job."""

    def __init__(self, target: str, package: str = "") -> None:
        self.entry = described(Entry(target=target, package=package, is_own=True))

    @property
    def spec(self) -> HookSpec:
        folders = [str(Path(self.entry.package).parent)] if self.entry.package else []
        lists = declared(self.entry.target, folders).get("lists", JOB_LISTS)
        return HookSpec(name=self.entry.target, factories=(), lists=lists)

    def call(self, dj_configs: Any, extra_configs: Any, analysis: dict[str, Any]) -> Call:
        asked = extra_configs if isinstance(extra_configs, dict) else {}
        env = {key: asked[key] for key in JOB_KEYS if key in asked}
        return Call(entry=self.entry, config={**env, "dj_configs": dj_configs, "extra_configs": extra_configs})


class Hooks(Mapping[str, Hook]):
    """All hooks by name: those above, and those that others register."""

    def __init__(self) -> None:
        self._registered = Registry(REGISTERED_HOOKS)

    def __getitem__(self, name: str) -> Hook:
        if name in HOOKS:
            return HOOKS[name]
        if is_target(name):
            return OwnHook(name)
        return OwnHook(*self._registered[name])

    def __iter__(self) -> Iterator[str]:
        return iter({**HOOKS, **dict.fromkeys(self._registered)})

    def __len__(self) -> int:
        return len(set(self))


ALL_HOOKS = Hooks()


def hook_named(name: str) -> Hook:
    """Raises ConfigError for a hook that cannot be run."""
    if name not in ALL_HOOKS:
        raise ConfigError(
            [Problem("the experiment", "hook", f"there is no hook {name!r}{did_you_mean(name, ALL_HOOKS)}")]
        )
    return ALL_HOOKS[name]


def component_folders(job: Job, cwd: str) -> list[str]:
    """The folders that a job has put on the worker's path."""
    return [os.path.join(cwd, os.path.expanduser(job.component_path))] if job.component_path else []
