"""Quality of a text dataset by counting: lengths, redundancy, duplicates, and the share that a recipe keeps."""

from __future__ import annotations

import importlib
import math
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.base import BaseEvaluator
from components.data.jsonl import dataset_paths, read_lines
from components.evaluators.duplicates import Duplicates
from sandbox_actors.dotted import find_or_none
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem
from sandbox_actors.files import user_path


class TextQuality(BaseEvaluator):
    """Measures texts without a model.

    dataset_path    .jsonl or .jsonl.gz, one file or a list
    text_key        the dotted key of the text (default `text`)
    near_duplicate  the Jaccard similarity from which two texts are near-duplicates (default 0.8); false omits this
                    measure, which takes most of the time and memory
    recipe          a Data-Juicer recipe, or the path of one: its operators define a good sample

    `run` returns a mapping. For N samples, with words separated by blanks and shares from 0 to 1:

    samples           N
    empty             share of samples without text, or with blanks only; the other figures are of the rest
    chars_mean, chars_p10, chars_p50, chars_p90, words_mean
                      length of a text: mean and quantiles (linearly interpolated), in characters and in words
    char_entropy      -sum p log2 p over the characters of all texts together, in bits a character: English prose has
                      4.1 to 4.5, repeated characters lower it, encoded bytes raise it
    word_entropy      the same over lower-cased words, in bits a word: higher for a richer vocabulary; it grows with the
                      size of the dataset, so compare datasets of equal size
    compression       bytes of all texts, one a line, compressed by zlib (level 6), over their bytes in UTF-8: lower if
                      they repeat themselves within 32 kB; prose has 0.35 to 0.45
    exact_duplicates  share of texts that equal an earlier one: 1 - different texts / texts
    near_duplicates   share of texts to remove so that one of each group of near-duplicates stays: 1 - groups / texts,
                      see `duplicates.py`; never below exact_duplicates
    recipe_kept       share of all N samples that the recipe keeps, if one is given
    """

    env = "data-juicer"
    required = ("dataset_path",)
    reads = ("dataset_path",)
    keys = ("dataset_path", "text_key", "near_duplicate", "recipe")

    def load(self) -> dict[str, Any]:
        """A place for Data-Juicer, which is imported when a recipe is run."""
        return {}

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> dict[str, float]:
        paths = dataset_paths(self.eval_config, "dataset_path", "text_quality")
        recipe = self._recipe()
        threshold = self.eval_config.get("near_duplicate", 0.8)
        if threshold is not False and not (isinstance(threshold, (int, float)) and 0 < threshold <= 1):
            problem = f"must be a similarity above 0 and up to 1, or false, not {threshold!r}"
            raise ConfigError([Problem("text_quality", "near_duplicate", problem)])
        found = measure(self._texts(paths), float(threshold) or None)
        if recipe is not None:
            kept = sum(self._kept(recipe, path) for path in paths)
            found["recipe_kept"] = kept / found["samples"]
        print("\n".join(f"{name:<18}{value:.6g}" for name, value in found.items()))
        return found

    def _texts(self, paths: Iterable[Path]) -> Iterator[str]:
        key = str(self.eval_config.get("text_key") or "text")
        for path in paths:
            for line in read_lines(path):
                value = find_or_none(line.sample, key)
                if value is not None and not isinstance(value, str):
                    raise line.error(f"{key!r} must be text, not {value!r:.60}")
                yield value or ""

    def _recipe(self) -> dict[str, Any] | None:
        recipe = self.eval_config.get("recipe")
        if isinstance(recipe, str):
            try:
                yaml: Any = importlib.import_module("yaml")
                recipe = yaml.safe_load(user_path(recipe).read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError) as error:
                raise ConfigError([Problem("text_quality", "recipe", f"cannot be read: {error}")]) from error
        if recipe is not None and not (isinstance(recipe, Mapping) and recipe.get("process")):
            raise ConfigError([Problem("text_quality", "recipe", "has no operators in `process`")])
        return None if recipe is None else dict(recipe)

    def _kept(self, recipe: dict[str, Any], path: Path) -> int:
        from components.data.executor import DataExecutor

        with tempfile.TemporaryDirectory(prefix="text-quality-") as folder:
            executor = DataExecutor({**recipe, "dataset_path": str(path), "export_path": f"{folder}/kept.jsonl"})
            loaded = self.load() if self.loaded is None else self.loaded
            executor.loaded = loaded["juicer"] = loaded.get("juicer") or executor.load()
            return int(executor.run()["samples_kept"])

    def unload(self) -> None:
        if self.loaded and "juicer" in self.loaded:
            self.loaded["juicer"].close()
        super().unload()


def measure(texts: Iterable[str], threshold: float | None) -> dict[str, float]:
    """The figures of `TextQuality` except the recipe's; near-duplicates only with a threshold.

    Raises ComponentFailed if no sample has text.
    """
    characters: Counter[str] = Counter()
    vocabulary: Counter[str] = Counter()
    duplicates = Duplicates(threshold)
    lengths: list[int] = []
    samples = words_in_all = size = packed = 0
    packer = zlib.compressobj(6)
    for samples, text in enumerate(texts, start=1):  # noqa: B007  # the count is used after the loop
        if not text.strip():
            continue
        words, content = text.split(), text.encode("utf-8", "surrogatepass") + b"\n"
        lengths.append(len(text))
        words_in_all += len(words)
        characters.update(text)
        vocabulary.update(map(str.lower, words))
        size += len(content)
        packed += len(packer.compress(content))
        duplicates.add(text, words)
    if not lengths:
        raise ComponentFailed(f"none of the {samples} samples has text")
    numpy: Any = importlib.import_module("numpy")
    low, middle, high = (float(value) for value in numpy.percentile(lengths, [10, 50, 90]))
    found = {
        "samples": samples,
        "empty": 1 - len(lengths) / samples,
        "chars_mean": sum(lengths) / len(lengths),
        "chars_p10": low,
        "chars_p50": middle,
        "chars_p90": high,
        "words_mean": words_in_all / len(lengths),
        "char_entropy": entropy(characters),
        "word_entropy": entropy(vocabulary),
        "compression": (packed + len(packer.flush())) / size,
        "exact_duplicates": 1 - duplicates.different / len(lengths),
    }
    return {**found, "near_duplicates": 1 - duplicates.groups / len(lengths)} if threshold else found


def entropy(counts: Counter[str]) -> float:
    """Shannon's, in bits: -sum p log2 p."""
    total = counts.total()
    return -math.fsum(count / total * math.log2(count / total) for count in counts.values()) + 0.0
