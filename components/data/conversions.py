"""Converts captions of images and videos between the formats of trainers: one output file for each input file.

Common settings: `dataset_path` (a file or a list of files, .jsonl or .jsonl.gz) and `export_path` (a folder). Each
`run` returns the list of the paths it wrote, in the order of its inputs. Parts that
do not change are copied byte for byte. Input in a wrong format is an error with file and line; nothing is written then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from components.base import BaseDataPoolManipulator
from components.data.json_patch import changed, elements
from components.data.jsonl import Line, dataset_paths, read_lines, stem
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem
from sandbox_actors.files import user_path, whole_file, write_whole

IMAGE = "<__dj__image>"
VIDEO = "<__dj__video>"
END_OF_CHUNK = "<|__dj__eoc|>"
"""Data-Juicer's tokens for an image and a video in a text, and for the end of the text that belongs to them."""


class Conversion(BaseDataPoolManipulator):
    """Base: `ending` is appended to the name of the input to name the output."""

    env = "plain"
    is_light = True
    required: ClassVar[tuple[str, ...]] = ("dataset_path", "export_path")
    reads = ("dataset_path",)
    keys: ClassVar[tuple[str, ...]] = required
    ending = ""

    def run(self) -> list[str]:
        paths = dataset_paths(self.data_pool_cfg, "dataset_path", self._name)
        folder = self.data_pool_cfg.get("export_path")
        if not isinstance(folder, str) or not folder:
            raise ConfigError([Problem(self._name, "export_path", "missing: the folder of the outputs")])
        targets = [user_path(folder) / f"{stem(path)}{self.ending}" for path in paths]
        for target in targets:
            if targets.count(target) > 1:
                problem = f"several of them would be written to {target}"
                raise ConfigError([Problem(self._name, "dataset_path", problem)])
        user_path(folder).mkdir(parents=True, exist_ok=True)
        for path, target in zip(paths, targets, strict=True):
            print(f"{self.convert(path, target)} of {path} into {target}")
        return [str(target) for target in targets]

    def convert(self, path: Path, target: Path) -> str:
        """Write one output; returns its number of samples as text."""
        raise NotImplementedError

    @property
    def _name(self) -> str:
        return str(self.data_pool_cfg.get("type", type(self).__name__))


class CocoCaptionToDataJuicer(Conversion):
    """InternVL's COCO Caption jsonl to Data-Juicer's format, `<name>_dj_fmt.jsonl`.

    `{"image": PATH, "conversations": [QUESTION, {"value": CAPTION}, ...], ...}` gets two more keys: `images`, [PATH],
    and `text`, the image token and the caption. The other keys stay, so that the output of Data-Juicer is still in
    InternVL's format. If `image` is a list, `images` is that list and the text has a token for each.

    image_root  a folder that relative paths in `images` start at (default: none), for operators that open the images
    """

    keys = (*Conversion.keys, "image_root")
    ending = "_dj_fmt.jsonl"

    def convert(self, path: Path, target: Path) -> str:
        count = 0
        with whole_file(target) as file:
            for line in read_lines(path):
                file.write(self._converted(line).encode() + b"\n")
                count += 1
        return _samples(count)

    def _converted(self, line: Line) -> str:
        sample = line.sample
        image, conversations = sample.get("image"), sample.get("conversations")
        images = [image] if isinstance(image, str) else image
        if not isinstance(images, list) or not images or not all(isinstance(each, str) for each in images):
            raise line.error(f"`image` must be a path or a list of paths, not {image!r:.60}")
        answer = conversations[1] if isinstance(conversations, list) and len(conversations) > 1 else None
        caption = answer.get("value") if isinstance(answer, dict) else None
        if not isinstance(caption, str):
            raise line.error("the caption must be text at `conversations`, second turn, `value`")
        root = self.data_pool_cfg.get("image_root") or ""
        tokens = " ".join([IMAGE] * len(images))
        return changed(
            line.text, {"images": [os.path.join(root, each) for each in images], "text": f"{tokens} {caption}"}
        )


class CocoCaptionMeta(Conversion):
    """InternVL's meta file of a COCO Caption dataset, `<name>_meta.json`: one key, the name, and below it `root`,
    `annotation` (the dataset, relative to `data_root_path`), `data_augment`, `repeat_time`, `length` (its samples).

    data_root_path  the folder that InternVL is started in; required
    root            the folder of the images, relative to it (default `data/coco/`)
    data_augment    default false
    repeat_time     repeats of the dataset in an epoch; below 1, the share of it that is used (default 1)
    """

    required = (*Conversion.required, "data_root_path")
    keys = (*required, "root", "data_augment", "repeat_time")
    ending = "_meta.json"

    def convert(self, path: Path, target: Path) -> str:
        settings = self.data_pool_cfg
        base = settings.get("data_root_path")
        if not isinstance(base, str) or not base:
            problem = "missing: the folder that InternVL is started in, to which `annotation` is relative"
            raise ConfigError([Problem(self._name, "data_root_path", problem)])
        if path.suffix == ".gz":
            raise ComponentFailed(f"{path}: InternVL reads plain jsonl only; unpack it first")
        length = sum(1 for line in read_lines(path) if line.sample is not None)
        meta = {
            "root": settings.get("root", "data/coco/"),
            "annotation": os.path.relpath(path.absolute(), user_path(base).absolute()),
            "data_augment": settings.get("data_augment", False),
            "repeat_time": settings.get("repeat_time", 1),
            "length": length,
        }
        write_whole(target, json.dumps({stem(path): meta}, indent=2, ensure_ascii=False).encode() + b"\n")
        return _samples(length)


class DataJuicerToEasyAnimate(Conversion):
    """Data-Juicer's video format to EasyAnimate's, `<name>_ea_fmt.json`: one list of samples.

    `{"videos": [PATH, ...], "text": "<__dj__video> CAPTION <|__dj__eoc|>", ...}` gets `file_path`, the first of its
    videos, and its text loses the tokens of Data-Juicer. A sample without a video is omitted, which is logged. An
    input may also be a JSON list of such samples.
    """

    ending = "_ea_fmt.json"

    def convert(self, path: Path, target: Path) -> str:
        kept = left_out = 0
        with whole_file(target) as file:
            file.write(b"[")
            for line in _read_list(path) if _is_list(path) else read_lines(path):
                converted = self._converted(line)
                if converted is None:
                    left_out += 1
                    print(f"{line.path}, line {line.number}: has no video and is omitted")
                    continue
                file.write(b",\n" if kept else b"\n")
                file.write(converted.encode())
                kept += 1
            file.write(b"\n]\n")
        return f"{_samples(kept)} ({left_out} without a video omitted)" if left_out else _samples(kept)

    @staticmethod
    def _converted(line: Line) -> str | None:
        sample = line.sample
        videos, text = sample.get("videos"), sample.get("text")
        if not isinstance(videos, list) or not all(isinstance(video, str) for video in videos):
            raise line.error(f"`videos` must be a list of paths, not {videos!r:.60}")
        if not isinstance(text, str):
            raise line.error(f"`text` must be text, not {text!r:.60}")
        if not videos:
            return None
        caption = text.replace(VIDEO, "").replace(END_OF_CHUNK, "").strip()
        return changed(line.text, {"text": caption, "file_path": videos[0]})


def _is_list(path: Path) -> bool:
    if path.suffix != ".json":
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"[")


def _read_list(path: Path) -> Iterator[Line]:
    """The samples of a JSON list, each with the number of its first line."""
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
    except ValueError as error:
        raise ComponentFailed(f"{path}: not JSON: {error}") from error
    number, position = 1, 0
    for start, end in elements(text):
        number += text.count("\n", position, start)
        position = start
        yield Line(path, number, text[start:end])


def _samples(count: int) -> str:
    return "1 sample" if count == 1 else f"{count} samples"
