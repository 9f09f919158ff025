"""Where a model or a tokenizer is: in a folder, in the hub's cache on this machine, or on the hub."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox_actors.errors import ComponentFailed

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_OTHER_FORMATS = ["*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite", "original/*"]
"""The same weights again, for other libraries."""


def find_model(name: str) -> str:
    """The folder of a model that is given by a path, or by its name on the hub; downloaded if it has to be.

    Raises ComponentFailed that says where was looked, and where to put the model.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder.absolute())
    if not _HUB_NAME.fullmatch(name):
        raise ComponentFailed(f"there is no folder {folder.absolute()}: a model's folder holds config.json and weights")
    from huggingface_hub import constants, snapshot_download

    try:
        return str(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):  # both, for a name that the cache does not know
        pass
    try:
        return str(snapshot_download(name, ignore_patterns=_OTHER_FORMATS))
    except Exception as error:  # whatever the hub's client and the network raise
        reason = str(error).strip().split("\n")[0][:120] or type(error).__name__
        raise ComponentFailed(
            f"no model {name!r}: there is no folder {folder.absolute()}, the cache {constants.HF_HUB_CACHE} has none "
            f"of that name, and the hub gave none ({reason}). Put the model's folder (config.json, weights, tokenizer) "
            f"at that path, or let HF_HOME name a folder whose cache holds it"
        ) from error
