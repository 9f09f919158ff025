from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from components.base import Config
from components.data.conversions import CocoCaptionMeta, CocoCaptionToDataJuicer, DataJuicerToEasyAnimate
from sandbox_actors.errors import ComponentFailed, ConfigError

COCO = (
    '{"image": "train2014/COCO_1.jpg","id":  7, "conversations": [{"from": "human", "value": "<image>\\nDescribe it."},'
    ' {"from": "gpt", "value": "A caf\\u00e9."}], "width": 640.0}'
)
VIDEO = '{"videos": ["a.mp4", "b.mp4"], "score": 1.50, "text": "<__dj__video> A dog\\nruns. <|__dj__eoc|>"}'


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "coco_train.jsonl"
    path.parent.mkdir()
    path.write_text(f"{COCO}\n\n{COCO}\n", encoding="utf-8")
    return path


def convert(kind: Any, source: Path | list[Path], **settings: Any) -> list[str]:
    paths = [str(path) for path in source] if isinstance(source, list) else str(source)
    first = source[0] if isinstance(source, list) else source
    export = str(first.parent.parent / "out")
    result: list[str] = kind(Config(dataset_path=paths, export_path=export, **settings)).run()
    return result


def test_a_caption_gets_the_image_token_and_its_images(coco: Path) -> None:
    (path,) = convert(CocoCaptionToDataJuicer, coco)
    assert Path(path) == coco.parent.parent / "out" / "coco_train_dj_fmt.jsonl"
    line, again = Path(path).read_text(encoding="utf-8").splitlines()
    assert line == again == COCO[:-1] + ', "images": ["train2014/COCO_1.jpg"], "text": "<__dj__image> A café."}'


def test_converting_again_changes_nothing(coco: Path, tmp_path: Path) -> None:
    (once,) = convert(CocoCaptionToDataJuicer, coco)
    (twice,) = convert(CocoCaptionToDataJuicer, Path(once))
    assert Path(twice).name == "coco_train_dj_fmt_dj_fmt.jsonl"
    assert Path(once).read_bytes() == Path(twice).read_bytes()


def test_images_may_be_several_and_below_a_folder(coco: Path) -> None:
    sample = json.loads(COCO)
    coco.write_text(json.dumps({**sample, "image": ["1.jpg", "/2.jpg"]}))
    (path,) = convert(CocoCaptionToDataJuicer, coco, image_root="/data/coco")
    converted = json.loads(Path(path).read_text())
    assert converted["images"] == ["/data/coco/1.jpg", "/2.jpg"]
    assert converted["text"] == "<__dj__image> <__dj__image> A café."
    assert converted["image"] == ["1.jpg", "/2.jpg"]


def test_the_meta_file_is_what_internvl_reads(coco: Path) -> None:
    (path,) = convert(CocoCaptionMeta, coco, data_root_path=str(coco.parent.parent))
    assert Path(path).name == "coco_train_meta.json"
    assert json.loads(Path(path).read_text()) == {
        "coco_train": {
            "root": "data/coco/",
            "annotation": "in/coco_train.jsonl",
            "data_augment": False,
            "repeat_time": 1,
            "length": 2,
        }
    }


def test_the_settings_of_the_meta_file_can_be_chosen(coco: Path) -> None:
    settings = {"root": "images/", "data_augment": True, "repeat_time": 0.5}
    (path,) = convert(CocoCaptionMeta, coco, data_root_path=str(coco.parent), **settings)
    meta = json.loads(Path(path).read_text())["coco_train"]
    assert {key: meta[key] for key in settings} == settings
    with pytest.raises(ConfigError, match="data_root_path: missing"):
        convert(CocoCaptionMeta, coco)


@pytest.mark.parametrize("form", ["jsonl", "json", "jsonl.gz"])
def test_a_video_gets_its_path_and_its_caption_loses_the_tokens(tmp_path: Path, form: str) -> None:
    source = tmp_path / "in" / f"videos.{form}"
    source.parent.mkdir()
    content = f"[\n  {VIDEO},\n  {VIDEO}]" if form == "json" else f"{VIDEO}\n{VIDEO}\n"
    source.write_bytes(gzip.compress(content.encode()) if form.endswith("gz") else content.encode())
    (path,) = convert(DataJuicerToEasyAnimate, source)
    assert Path(path).name == "videos_ea_fmt.json"
    expected = '{"videos": ["a.mp4", "b.mp4"], "score": 1.50, "text": "A dog\\nruns.", "file_path": "a.mp4"}'
    assert Path(path).read_text() == f"[\n{expected},\n{expected}\n]\n"


def test_a_sample_without_a_video_is_left_out_and_the_log_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in" / "videos.json"
    source.parent.mkdir()
    source.write_text(f'[{VIDEO},\n{{"videos": [], "text": "x"}}]')
    (path,) = convert(DataJuicerToEasyAnimate, source)
    assert len(json.loads(Path(path).read_text())) == 1
    said = capsys.readouterr().out
    assert "videos.json, line 2: has no video and is omitted" in said
    assert "1 sample (1 without a video omitted)" in said


def test_without_any_video_the_list_is_empty(tmp_path: Path) -> None:
    source = tmp_path / "in" / "videos.json"
    source.parent.mkdir()
    source.write_text("[]")
    (path,) = convert(DataJuicerToEasyAnimate, source)
    assert json.loads(Path(path).read_text()) == []


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        (CocoCaptionToDataJuicer, '{"image": 3, "conversations": []}', "`image` must be a path"),
        (CocoCaptionToDataJuicer, '{"image": "a.jpg", "conversations": [{}]}', "the caption must be text"),
        (CocoCaptionToDataJuicer, '{"image": "a.jpg"', "not a sample"),
        (CocoCaptionToDataJuicer, "[1]", "not a sample"),
        (CocoCaptionMeta, "{,}", "not a sample"),
        (DataJuicerToEasyAnimate, '{"text": "x"}', "`videos` must be a list of paths"),
        (DataJuicerToEasyAnimate, '{"videos": ["a"], "text": null}', "`text` must be text"),
    ],
)
def test_what_does_not_fit_the_format_is_told_with_its_line(coco: Path, kind: Any, line: str, message: str) -> None:
    good = VIDEO if kind is DataJuicerToEasyAnimate else COCO
    coco.write_text(f"{good}\n\n{line}\n")
    with pytest.raises(ComponentFailed, match=rf"coco_train\.jsonl, line 3: {message}"):
        convert(kind, coco, data_root_path=".")
    assert list(coco.parent.parent.glob("out/*")) == []


def test_bytes_that_are_not_utf_8_are_told_with_their_line(coco: Path) -> None:
    coco.write_bytes(COCO.encode() + b"\n{\xff}\n")
    with pytest.raises(ComponentFailed, match=r"line 2: not UTF-8"):
        convert(CocoCaptionToDataJuicer, coco)


def test_a_file_that_is_cut_off_or_of_another_form_is_told(tmp_path: Path) -> None:
    source = tmp_path / "in" / "x.jsonl.gz"
    source.parent.mkdir()
    source.write_bytes(gzip.compress(f"{VIDEO}\n".encode() * 100)[:-20])
    with pytest.raises(ComponentFailed, match=r"cannot read the dataset .*x\.jsonl\.gz"):
        convert(DataJuicerToEasyAnimate, source)
    (parquet := source.with_name("x.parquet")).touch()
    with pytest.raises(ComponentFailed, match=r"\.parquet files are not supported"):
        convert(DataJuicerToEasyAnimate, parquet)


def test_files_that_would_end_up_as_one_are_refused(coco: Path) -> None:
    other = coco.parent / "more" / coco.name
    other.parent.mkdir()
    other.write_text(f"{COCO}\n")
    with pytest.raises(ConfigError, match=r"several of them would be written to .*coco_train_dj_fmt\.jsonl"):
        convert(CocoCaptionToDataJuicer, [coco, other])
    other = other.rename(other.with_name("other.jsonl"))
    assert [Path(path).name for path in convert(CocoCaptionToDataJuicer, [other, coco])] == [
        "other_dj_fmt.jsonl",
        "coco_train_dj_fmt.jsonl",
    ]


@pytest.mark.parametrize("paths", [None, [], "absent.jsonl", ["absent.jsonl"], [3]])
def test_inputs_that_are_not_there_are_told_before_anything_is_written(tmp_path: Path, paths: Any) -> None:
    with pytest.raises(ConfigError, match="dataset_path"):
        CocoCaptionToDataJuicer(Config(dataset_path=paths, export_path=str(tmp_path / "out"))).run()
    assert list(tmp_path.iterdir()) == []
