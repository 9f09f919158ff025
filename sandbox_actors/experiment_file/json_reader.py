"""JSON, read with an error for each duplicate key and for each number that is too large, and for text that is none."""

from __future__ import annotations

import json
import re
from typing import Any

from sandbox_actors.experiment_file.key_path import KeyPath
from sandbox_actors.experiment_file.reader import MAX_DEPTH, TOO_DEEP, Reader, Unreadable

_HALVES = re.compile(r"[\ud800-\udfff]")


class JsonReader(Reader):
    def parse(self, text: bytes) -> Any:
        """Raises json.JSONDecodeError, UnicodeDecodeError, RecursionError and Unreadable."""
        value = json.loads(text.decode("utf-8-sig"), object_pairs_hook=self._mapping)
        self._check(value, ())
        return value

    def _mapping(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        names = [name for name, _ in pairs]
        for name in mapping if len(mapping) < len(pairs) else ():
            if names.count(name) > 1:
                # json calls this for the innermost object first, without saying where that is: hence no longer path
                self.error((name,), "the key occurs twice in one object")
        return mapping

    def _check(self, value: Any, path: KeyPath) -> None:
        if len(path) > MAX_DEPTH:
            raise Unreadable(TOO_DEEP)
        if isinstance(value, dict):
            for key, each in value.items():
                self._check_text(key, (*path, ascii(key)))
                self._check(each, (*path, key))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                self._check(each, (*path, index))
        elif isinstance(value, str):
            self._check_text(value, path)
        elif isinstance(value, (int, float)):
            self.check_number(value, path)

    def _check_text(self, text: str, path: KeyPath) -> None:
        """An error for half of a surrogate pair, which an escape in JSON can write and UTF-8 cannot hold."""
        if not text.isascii() and (half := _HALVES.search(text)):
            self.error(path, f"contains {half[0]!a}, half of a character; write the character itself")
