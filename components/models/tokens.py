"""Tokenizers from folders, and the tokens of texts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sandbox_actors.errors import ComponentFailed

_SUFFIXES = (".jinja", ".json", ".model", ".txt")
"""Suffixes of a tokenizer's files; weights have others."""


class Tokenizers:
    """Loads tokenizers, and keeps the last one while the files of the next are the same.

    Each tokenizer of tokenizers 0.23 that has encoded something leaks its cache, 4 MB after the texts of the demo: a
    process that loads one for each run would grow by that with every run.
    """

    def __init__(self) -> None:
        self._digest = ""
        self._tokenizer: Any = None

    def load(self, path: str) -> Any:
        """The tokenizer in the folder `path`. Raises ComponentFailed if there is none."""
        from transformers import AutoTokenizer

        try:
            digest = _digest(Path(path))
            if digest != self._digest:
                self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
                self._digest = digest
        except (OSError, ValueError) as error:
            raise ComponentFailed(f"cannot load a tokenizer from {path}: {error}") from error
        return self._tokenizer


def encode(tokenizer: Any, texts: list[str]) -> list[int]:
    """The tokens of all texts in one list, with the end-of-text token after each text."""
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return [token for text in encoded for token in (*text, tokenizer.eos_token_id)]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in _SUFFIXES:
            digest.update(b"%b\0%b\0" % (file.name.encode(), file.read_bytes()))
    return digest.hexdigest()
