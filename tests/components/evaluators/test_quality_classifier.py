"""Data-Juicer's quality classifiers. The expected hashes and probabilities are what Spark 4.3 itself gave."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.evaluators.spark_model import murmur3, split
from tests.components.conftest import ComponentProcess, Start

FEATURES = 1 << 18
WEIGHTS = {"good": 2.0, "bad": -1.5, "straße": 0.25, "": -0.5}
INTERCEPT = -0.2

WRITE_MODEL = """
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
for path, row in json.load(sys.stdin).items():
    pq.write_table(pa.Table.from_pylist([row]), path)
"""

TRAIN_TOKENIZER = """
import sys, sentencepiece
sentencepiece.SentencePieceTrainer.train(
    input=sys.argv[1], model_prefix=sys.argv[2], vocab_size=30, hard_vocab_limit=False, minloglevel=2
)
"""


@pytest.fixture
def python(component_env: Callable[[str], Path]) -> Path:
    return component_env("data-juicer")


@pytest.fixture
def start(start_component: Start) -> Callable[[], ComponentProcess]:
    """A cold process: a loaded model is kept by the worker."""
    return lambda: start_component("data-juicer", "components.evaluators.quality_classifier:QualityClassifier")


def make_model(python: Path, folder: Path, *, is_sparse: bool = True, has_tokenizer: bool = True) -> Path:
    """A folder as Spark writes it: metadata as text, weights as parquet."""
    weights = {murmur3(word.encode()) % FEATURES: weight for word, weight in WEIGHTS.items()}
    columns = sorted(weights)
    dense = [weights.get(column, 0.0) for column in range(FEATURES)]
    matrix = {
        "type": 0 if is_sparse else 1,
        "numRows": 1,
        "numCols": FEATURES,
        "colPtrs": [0, len(columns)] if is_sparse else None,
        "rowIndices": columns if is_sparse else None,
        "values": [weights[column] for column in columns] if is_sparse else dense,
        "isTransposed": True,
    }
    classes = [("Tokenizer", "feature")] * has_tokenizer + [
        ("HashingTF", "feature"),
        ("LogisticRegressionModel", "classification"),
    ]
    for number, (name, package) in enumerate(classes):
        stage = folder / "stages" / f"{number}_{name}_0123456789ab"
        (stage / "metadata").mkdir(parents=True)
        metadata = {"class": f"org.apache.spark.ml.{package}.{name}", "sparkVersion": "3.5.0", "paramMap": {}}
        (stage / "metadata" / "part-00000").write_text(json.dumps(metadata) + "\n")
    (stage / "data").mkdir()
    vector = {"type": 1, "size": None, "indices": None, "values": [INTERCEPT]}
    row = {
        "numClasses": 2,
        "numFeatures": FEATURES,
        "interceptVector": vector,
        "coefficientMatrix": matrix,
        "isMultinomial": False,
    }
    asked = json.dumps({str(stage / "data" / "part-00000.parquet"): row})
    subprocess.run([str(python), "-c", WRITE_MODEL], input=asked, text=True, check=True)
    return folder


def write(path: Path, texts: list[Any]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def logistic(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


@pytest.mark.parametrize(
    ("word", "feature", "legacy"),
    [
        ("", 142593372, 142593372),
        ("a", 853910114, 1485273170),
        ("of", 1568364495, -231725657),
        ("the", 374699664, 593335710),
        ("word", 1866227166, -281256481),
        ("words", 1784566072, -843190359),
        ("straße", 1624287495, -1357798123),
        ("汉字", 467684744, 1233288010),
        ("region's", 1516147899, -631335748),
    ],
)
def test_words_are_hashed_as_spark_does(word: str, feature: int, legacy: int) -> None:
    assert murmur3(word.encode()) % (2**31 - 1) == feature
    assert murmur3(word.encode(), is_legacy=True) == legacy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("click  HERE\tnow", ["click", "", "here", "now"]),
        ("  two leading", ["", "", "two", "leading"]),
        ("trailing  ", ["trailing"]),
        ("", [""]),
        ("a\u00a0b\u2003c", ["a\u00a0b\u2003c"]),
        ("İstanbul", ["i\u0307stanbul"]),
    ],
)
def test_texts_are_split_as_spark_does(text: str, words: list[str]) -> None:
    assert split(text) == words


@pytest.mark.parametrize("is_sparse", [True, False])
def test_the_mean_score_is_that_of_the_regression(
    start: Callable[[], ComponentProcess], python: Path, tmp_path: Path, is_sparse: bool
) -> None:
    model = make_model(python, tmp_path / "model", is_sparse=is_sparse)
    data = write(tmp_path / "x.jsonl", ["good Good text", "bad", "  straße", None])
    ran = start().run({"dataset_path": data, "model": str(model)}, "data")
    assert ran.error is None, ran.log
    margins = [2 * 2.0, -1.5, 2 * -0.5 + 0.25, -0.5]
    assert ran.result == pytest.approx(sum(logistic(INTERCEPT + each) for each in margins) / 4)
    assert "4 samples: quartiles" in ran.log
    assert "above 0.5: 25.0%" in ran.log


def test_a_classifier_of_pieces_takes_a_sentencepiece_model(
    start: Callable[[], ComponentProcess], python: Path, tmp_path: Path
) -> None:
    model = make_model(python, tmp_path / "model", has_tokenizer=False)
    data = write(tmp_path / "x.jsonl", ["good bad", "bad good"])
    refused = start().run({"dataset_path": data, "model": str(model)}, "data")
    assert "needs the `tokenizer` that it was trained with" in str(refused.error)
    (tmp_path / "words.txt").write_text("good bad\n" * 50)
    prefix = str(tmp_path / "pieces")
    subprocess.run([str(python), "-c", TRAIN_TOKENIZER, str(tmp_path / "words.txt"), prefix], check=True)
    ran = start().run({"dataset_path": data, "model": str(model), "tokenizer": f"{prefix}.model"}, "data")
    assert ran.error is None, ran.log
    assert ran.result == pytest.approx(logistic(INTERCEPT))  # its pieces are no words of the classifier


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "'gpt3' is not on this machine: download https://"),
        ({}, "gpt3_quality_model.zip and unpack it to "),
        ({"model": "chinese"}, "chinese_quality_model, or set `model_path`"),
        ({"model_path": "absent"}, "to absent, or set"),
        ({"model": "absent"}, "no folder absent: `model` must be gpt3, chinese, code or a classifier's folder"),
        ({"model_path": "."}, "is not a Spark pipeline of HashingTF, LogisticRegressionModel, Tokenizer"),
    ],
)
def test_a_model_that_is_not_there_is_told_with_what_to_fetch(
    quality_without_models: ComponentProcess, settings: dict[str, Any], message: str
) -> None:
    ran = quality_without_models.run({"dataset_path": "x.jsonl", **settings}, "data")
    assert ran.error is not None
    assert ran.error.startswith("ComponentFailed: ")
    assert message in ran.error


@pytest.fixture(scope="module")
def quality_without_models(start_component: Start, tmp_path_factory: pytest.TempPathFactory) -> ComponentProcess:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_JUICER_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return start_component("data-juicer", "components.evaluators.quality_classifier:QualityClassifier")
