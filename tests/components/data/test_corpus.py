from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from components.base import Config
from components.data.corpus import Paragraph, PythonDocsCorpus, paragraphs, split
from sandbox_actors.errors import ConfigError


@pytest.fixture(scope="module")
def everything() -> list[Paragraph]:
    return list(paragraphs())


@pytest.fixture
def corpus_of(everything: list[Paragraph]) -> Callable[[Config], PythonDocsCorpus]:
    """The component, with the reading done beforehand."""

    class Corpus(PythonDocsCorpus):
        def read(self) -> list[Paragraph]:
            return everything

    return Corpus


def texts(path: str) -> list[str]:
    return [json.loads(line)["text"] for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_the_corpus_is_large_and_noisy(everything: list[Paragraph]) -> None:
    assert len(everything) > 10_000
    assert {"string-methods", "json/__init__.py"} <= {paragraph.source for paragraph in everything}
    assert len({paragraph.text for paragraph in everything}) < len(everything)  # repeats
    assert any(">>>" in paragraph.text for paragraph in everything)  # code
    assert min(len(paragraph.text) for paragraph in everything) < 5  # near-empty lines
    assert all(paragraph.text.strip() for paragraph in everything)


def test_no_text_of_tests_or_of_other_packages_is_in_it(everything: list[Paragraph]) -> None:
    folders = {part for paragraph in everything for part in paragraph.source.split("/")[:-1]}
    assert not folders & {"test", "tests", "site-packages"}


def test_one_interpreter_always_gives_the_same_corpus(everything: list[Paragraph]) -> None:
    assert list(islice(paragraphs(), 2000)) == everything[:2000]  # the rest takes seconds
    assert split(everything, 100, 50, 42) == split(everything, 100, 50, 42)
    assert split(everything, 100, 50, 42) != split(everything, 100, 50, 43)


def test_no_sample_equals_one_that_is_held_out(everything: list[Paragraph]) -> None:
    samples, heldout = split(everything, None, 500, 42)
    aside = [paragraph.text for paragraph in heldout]
    assert len(set(aside)) == 500
    assert not set(aside) & {paragraph.text for paragraph in samples}
    assert len(samples) == sum(paragraph.text not in aside for paragraph in everything)


def test_what_is_held_out_does_not_depend_on_how_many_samples_are_drawn(everything: list[Paragraph]) -> None:
    few, many = split(everything, 10, 50, 42), split(everything, 1000, 50, 42)
    assert (len(few[0]), len(many[0])) == (10, 1000)
    assert few[1] == many[1]


def test_more_samples_than_there_are_means_all_of_them() -> None:
    tiny = [Paragraph(str(number), "x") for number in range(5)]
    samples, heldout = split(tiny, 100, 2, 1)
    assert len(samples) == 3
    assert sorted(samples + heldout) == tiny


def test_holding_everything_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="corpus: heldout: 2 is too many: there are 2 distinct"):
        split([Paragraph("a", "x"), Paragraph("b", "x"), Paragraph("a", "y")], 1, 2, 1)


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"heldout": -1}, {"samples": "10"}, {"heldout": True}])
def test_numbers_of_samples_are_numbers(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"corpus: {next(iter(wrong))}: must be a number of samples"):
        PythonDocsCorpus(Config(export_path=str(tmp_path), **wrong)).run()


def test_the_corpus_is_made_once_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus_of: Callable[[Config], PythonDocsCorpus]
) -> None:
    config = Config(export_path=str(tmp_path / "corpus"), samples=20, heldout=5)
    train, heldout = corpus_of(config).run()
    assert (len(texts(train)), len(texts(heldout))) == (20, 5)
    made = Path(train).stat().st_mtime_ns
    assert corpus_of(config).run() == (train, heldout)
    assert Path(train).stat().st_mtime_ns == made
    assert "reused" in capsys.readouterr().out


def test_a_corpus_that_was_tampered_with_or_of_other_settings_is_made_anew(
    tmp_path: Path, corpus_of: Callable[[Config], PythonDocsCorpus]
) -> None:
    config = Config(export_path=str(tmp_path), samples=20, heldout=5)
    train, _ = corpus_of(config).run()
    right = texts(train)
    Path(train).write_text("")
    corpus_of(config).run()
    assert texts(train) == right
    corpus_of(config | {"samples": 10}).run()
    assert len(texts(train)) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.json", "heldout.jsonl", "train.jsonl"]
