"""Names and paths in an experiment that files are made of: which are accepted, and the file that a name becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.experiment.model import JOB_LISTS, LONGEST_NAME, Experiment, Job

MOST_BYTES = 200
"""Of the file that a name becomes: file systems take 255, and an ending follows."""

PATH_BYTES, PART_BYTES = 4_000, 255
"""What the kernel takes of a path, less what is put behind it, and of one part of it."""


def is_name(name: str) -> bool:
    """Whether a pipeline or a job may have this name."""
    return 0 < len(name) <= LONGEST_NAME and name not in (".", "..") and not set(name) & {"/", "\0"}


def describe_bad_name(noun: str, name: str) -> str:
    return f"{name!r:.80} cannot be the name of a {noun}: files are named after it, and messages show it"


def file_name(name: str) -> str:
    """The name of a file for any name: one part of a path, short enough, and printable. Part of a long one is replaced
    by its digest."""
    clean = "".join(each if each.isprintable() and each != "/" else "_" for each in name)
    data = clean.encode()
    if len(data) > MOST_BYTES:
        clean = data[: MOST_BYTES - 9].decode(errors="ignore") + "~" + hashlib.sha256(data).hexdigest()[:8]
    return "_" if clean in ("", ".", "..") else clean


def check_names(experiment: Experiment, cwd: str) -> None:
    """Raises ConfigError where a name or path is one that no file can have, or that a client of ours does not send.

    `cwd` is the folder that relative paths of the experiment are looked up from.
    """
    if problems := [Problem("<definition>", key, message) for key, message in _find_problems(experiment, cwd)]:
        raise ConfigError(problems)


def _find_problems(experiment: Experiment, cwd: str) -> Iterator[tuple[str, str]]:
    if not cwd.startswith("/") or not _is_path(cwd):
        yield "cwd", f"{cwd!r:.80} must be an absolute path"
    if not _is_path(experiment.work_dir):
        yield "work_dir", f"{experiment.work_dir!r:.80} cannot be the path of a folder"
    for number, pipeline in enumerate(experiment.pipelines):
        if not is_name(pipeline.name):
            yield f"pipelines.{number}.name", describe_bad_name("pipeline", pipeline.name)
        for list_name in JOB_LISTS:
            for index, job in enumerate(getattr(pipeline, list_name)):
                yield from ((f"pipelines.{number}.{list_name}.{index}.{key}", why) for key, why in _find_in_job(job))


def _find_in_job(job: Job) -> Iterator[tuple[str, str]]:
    if not is_name(job.meta_name):
        yield "meta_name", describe_bad_name("job", job.meta_name)
    for key in ("env", "component_path"):
        if not _is_path(getattr(job, key) or ""):
            yield key, f"{getattr(job, key)!r:.80} cannot be a path"


def _is_path(path: str) -> bool:
    data = path.encode(errors="surrogatepass")
    return b"\0" not in data and len(data) <= PATH_BYTES and all(len(part) <= PART_BYTES for part in data.split(b"/"))
