"""What an experiment leaves in its work_dir beside what its jobs write: `context_infos.json`, and links to the logs."""

from __future__ import annotations

import errno
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox_actors.experiment.model import NumberedJob
from sandbox_actors.experiment.names import file_name
from sandbox_actors.files import write_whole
from sandbox_actors.protocol import strict_json

CONTEXT_FILE = "context_infos.json"


class WorkDir:
    """Its methods block, as disks do, and raise OSError. Each makes what is missing of the folders again."""

    def __init__(self, path: Path, jobs: Sequence[NumberedJob], has_iterations: bool) -> None:
        self.path, self._has_iterations = path, has_iterations
        self._links = list(_link_names(jobs))
        self._texts: dict[tuple[int, str], list[str]] = {}

    def make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))

    def link_log(self, iter: int, index: int, log: Path) -> None:
        """Make links to the file `log`: `log/<meta_name>.log`, in `log/iter_<n>` too if there are several."""
        folder = self.path / "log"
        for each in (folder, folder / f"iter_{iter}")[: 2 if self._has_iterations else 1]:
            _point(each / self._links[index], log)

    def write_context(self, document: Iterable[Mapping[str, Any]], is_durable: bool) -> None:
        """Write what `iterations_to_list` gives, one job a line; readers find the old file or the new one. It is
        valid JSON, in which NaN and the infinities are strings (`strict_json`).

        What was in an earlier document is taken to be as it was: only what has come since is encoded.
        """
        text = "[\n" + ",\n".join(self._iteration(each) for each in document) + "\n]\n"
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / CONTEXT_FILE, text.encode(), is_durable=is_durable)

    def _iteration(self, infos: Mapping[str, Any]) -> str:
        pipelines = []
        for pipeline, jobs in infos["context_infos"].items():
            texts = self._texts.setdefault((infos["iter"], pipeline), [])
            texts += (f"      {strict_json.dumps(each, is_ascii=False)}" for each in jobs[len(texts) :])
            pipelines.append(f"    {strict_json.dumps(pipeline, is_ascii=False)}: [\n" + ",\n".join(texts) + "\n    ]")
        return f'  {{"iter": {infos["iter"]}, "context_infos": {{\n' + ",\n".join(pipelines) + "\n  }}"


def _point(link: Path, target: Path) -> None:
    if not link.parent.is_dir():
        link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{secrets.token_hex(8)}.unfinished")
    fresh.symlink_to(target)
    fresh.replace(link)


def _link_names(jobs: Sequence[NumberedJob]) -> Iterator[str]:
    """`<meta_name>.log`, with the pipeline or a number where that alone would mean several jobs."""
    counts = Counter(each.job.meta_name for each in jobs)
    seen: Counter[tuple[str, str]] = Counter()
    for each in jobs:
        name = each.job.meta_name if counts[each.job.meta_name] == 1 else f"{each.pipeline}.{each.job.meta_name}"
        seen[each.pipeline, each.job.meta_name] += 1
        number = seen[each.pipeline, each.job.meta_name]
        yield file_name(name if number == 1 else f"{name}.{number}") + ".log"
