"""Finds models and tokenizers: in a folder, in the hub's cache on this machine, or on the hub."""

from __future__ import annotations

import re

from sandbox_actors.errors import ComponentFailed
from sandbox_actors.files import user_path

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_OTHER_FORMATS = ["*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite", "original/*"]
"""Copies of the weights for other libraries."""


def find_model(name: str) -> str:
    """The folder of a model that is given by its path or its name on the hub; downloaded if needed.

    Raises ComponentFailed that says where the model was searched, and where to put it.
    """
    folder = user_path(name)
    if folder.is_dir():
        return str(folder.absolute())
    if not _HUB_NAME.fullmatch(name):
        raise ComponentFailed(f"no folder {folder.absolute()}: a model's folder contains config.json and weights")
    from huggingface_hub import constants, snapshot_download

    try:
        return str(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):  # either is raised for a name that is not in the cache
        pass
    try:
        return str(snapshot_download(name, ignore_patterns=_OTHER_FORMATS))
    except Exception as error:  # the hub's client and the network raise anything
        reason = str(error).strip().split("\n")[0][:120] or type(error).__name__
        raise ComponentFailed(
            f"no model {name!r}: not a folder {folder.absolute()}, not in the cache {constants.HF_HUB_CACHE}, "
            f"and not from the hub ({reason}). Put the model's folder (config.json, weights, tokenizer) "
            f"at that path, or set HF_HOME to a folder whose cache contains it"
        ) from error


def find_modelscope_model(name: str) -> str:
    """The absolute path of a folder, or a name on modelscope's hub. Raises ComponentFailed for a missing folder.

    modelscope would search its hub for any relative path with one slash in it.
    """
    folder = user_path(name)
    if folder.is_dir():
        return str(folder.absolute())
    if folder.is_absolute() or name.startswith((".", "~")):
        raise ComponentFailed(f"no folder {folder.absolute()}: a model's folder contains configuration.json")
    return name
