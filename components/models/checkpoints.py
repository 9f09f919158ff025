"""The checkpoints of one training, and whether the next run may continue from them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from sandbox_actors.errors import ComponentFailed
from sandbox_actors.files import write_whole

FOLDER = "checkpoints"
RECORD = "training.json"


class Checkpoints:
    """Checkpoints below `output_dir`, of a training with the settings `identity` on the tokens of `items`.

    A record beside them identifies their training, and says whether it has finished. A run continues from the last one
    if that belongs to the same, unfinished training; otherwise the checkpoints are removed.
    """

    def __init__(self, output_dir: Path, identity: dict[str, Any], items: list[Any]) -> None:
        self.folder = output_dir / FOLDER
        self._record = self.folder / RECORD
        self._digest = _digest(identity, items)

    def begin(self, resume: bool | str) -> str | None:
        """The checkpoint to continue from, if there is one. Raises ComponentFailed if `resume` names none."""
        if isinstance(resume, str):
            return resume_from(resume)
        last = self.last() if resume and self._read() == {"training": self._digest, "finished": False} else None
        if last is None:
            self._clear()
        self._write(finished=False)
        return last

    def last(self) -> str | None:
        """The newest complete checkpoint; a partly written one does not count."""
        steps = {int(path.name.rpartition("-")[2]): path for path in self._all() if is_complete(path)}
        return str(steps[max(steps)]) if steps else None

    def end(self) -> None:
        self._write(finished=True)

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdigit()]

    def _clear(self) -> None:
        for path in self._all():
            shutil.rmtree(path)

    def _read(self) -> Any:
        try:
            return json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _write(self, finished: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"training": self._digest, "finished": finished}
        write_whole(self._record, json.dumps(record).encode() + b"\n")


def resume_from(checkpoint: str) -> str:
    """`checkpoint`, if it is complete. Raises ComponentFailed."""
    if not is_complete(Path(checkpoint)):
        raise ComponentFailed(f"resume: {checkpoint} is not a checkpoint: it has no trainer_state.json")
    return checkpoint


def is_complete(checkpoint: Path) -> bool:
    """The Trainer writes its state last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _digest(identity: dict[str, Any], items: list[Any]) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for item in items:
        digest.update(item.numpy().tobytes())
    return digest.hexdigest()
