"""Figures for each sample: the loss under a real model, and the scores of a model behind an API."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.components.conftest import ComponentProcess, Start
from tests.components.inference.ugly_server import Asked, Reply, said, serving

LINES = (
    '{"text": "one", "n": 1.50, "__dj__stats__": {"text_len": 3.0}}',
    '{"text": "", "n": 2}',
    '{"n":3,"text":"\\u00e9t\\u00e9"}',
    '{"text": "%s"}' % ("many words " * 300),
)


@pytest.fixture(scope="session")
def losses(start_component: Start) -> ComponentProcess:
    return start_component("transformers", "components.evaluators.sample_loss:SampleLossEvaluator")


@pytest.fixture(scope="session")
def scores(start_component: Start) -> ComponentProcess:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            patch.delenv(name, raising=False)
        return start_component("api", "components.evaluators.api_score:ApiScoreEvaluator")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


def measured(process: ComponentProcess, config: dict[str, Any], *args: str) -> dict[str, Any]:
    ran = process.run(config, *args)
    assert ran.error is None, ran.error + ran.log
    return dict(ran.result)


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_each_sample_gets_its_loss_and_perplexity_and_is_else_unchanged(
    losses: ComponentProcess, tiny_chat: Path, dataset: Path
) -> None:
    result = measured(losses, {"type": "transformers", "model": str(tiny_chat)}, "transformers", str(dataset))
    assert result["export_path"] == str(dataset.with_name("data_measured.jsonl"))
    assert result["measure_key"] == "__dj__stats__.model_loss"
    found = [row.pop("__dj__stats__") for row in rows(result["export_path"])]
    assert found[0]["text_len"] == 3.0
    assert found[1] == {"model_loss": None, "model_perplexity": None}
    known = [each["model_loss"] for each in found if each["model_loss"] is not None]
    for each in found:
        if each["model_loss"] is not None:
            assert each["model_perplexity"] == pytest.approx(math.exp(each["model_loss"]))
    text = Path(result["export_path"]).read_text().splitlines()
    assert text[0].startswith('{"text": "one", "n": 1.50, "__dj__stats__": {"text_len": 3.0, "model_loss": ')
    assert text[2].startswith('{"n":3,"text":"\\u00e9t\\u00e9","__dj__stats__":{')
    assert result["samples"] == 4
    assert result["tokens"] == 3 + 5 + 3300, "all bytes of the texts are predicted"
    assert result["loss"]["mean"] == pytest.approx(statistics.mean(known))
    assert result["loss"]["std"] == pytest.approx(statistics.stdev(known))
    assert result["loss"]["50%"] == pytest.approx(statistics.median(known))
    assert result["loss"]["count"] == 3


def test_the_loss_is_that_of_transformers_whatever_the_batch(
    losses: ComponentProcess, tiny_chat: Path, dataset: Path, component_env: Any
) -> None:
    import subprocess

    script = (
        "import sys, json, torch, transformers\n"
        "model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "ids = torch.tensor([[tokenizer.eos_token_id] + tokenizer('one')['input_ids']])\n"
        "print(float(model(input_ids=ids, labels=ids).loss))\n"
    )
    command = [str(component_env("transformers")), "-c", script, str(tiny_chat)]
    expected = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    config = {"type": "transformers", "model": str(tiny_chat), "dataset_path": str(dataset)}
    for batch_size in (1, 16):
        result = measured(losses, {**config, "batch_size": batch_size}, "transformers")
        assert rows(result["export_path"])[0]["__dj__stats__"]["model_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_text_longer_than_the_model_sees_is_measured_in_blocks(
    losses: ComponentProcess, tiny_chat: Path, dataset: Path, tmp_path: Path
) -> None:
    config = {"type": "transformers", "model": str(tiny_chat), "dataset_path": str(dataset), "block_size": 64}
    export = str(tmp_path / "elsewhere")
    result = measured(losses, {**config, "export_path": export, "stats_key": "probe.v1"}, "transformers")
    assert result["export_path"] == f"{export}/data_measured.jsonl"
    assert result["measure_key"] == "probe.v1.model_loss"
    assert rows(result["export_path"])[3]["probe"]["v1"]["model_loss"] > 0
    assert result["tokens"] == 3 + 5 + 3300


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "./absent"}, "no folder"),
        ({"dataset_path": "absent.jsonl"}, "absent.jsonl is not a file"),
        ({"text_key": "body"}, "no sample could be measured"),
        ({"batchsize": 3}, "batchsize: unknown key; did you mean 'batch_size'?"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_measured_is_told(
    losses: ComponentProcess, tiny_chat: Path, dataset: Path, settings: dict[str, Any], message: str
) -> None:
    config = {"type": "transformers", "model": str(tiny_chat), "dataset_path": str(dataset), **settings}
    assert message in (losses.run(config, "transformers").error or "")
    assert not dataset.with_name("data_measured.jsonl").exists()


def test_a_model_behind_an_api_grades_the_samples(scores: ComponentProcess, dataset: Path) -> None:
    def behave(asked: Asked) -> Reply:
        assert "Answer with one number" in asked.body["messages"][0]["content"]
        return said("I am not sure.") if asked.text == "" else said(f"Grade: 0.{len(asked.text) % 10}")

    with serving(behave) as server:
        config = {"type": "api", "model": "judge", "api_endpoint": server.url, "max_failed_share": 0.3}
        result = measured(scores, config, "api", str(dataset))
    stats = [row["__dj__stats__"] for row in rows(result["export_path"])]
    assert [each["model_score"] for each in stats] == [0.3, None, 0.3, 0.0]
    assert stats[0]["text_len"] == 3.0
    assert "no number found in 'I am not sure.'" in rows(result["export_path"])[1]["model_score_error"]
    assert (result["samples"], result["failed"], result["score"]["mean"]) == (4, 1, pytest.approx(0.2))
    assert result["measure_key"] == "__dj__stats__.model_score"


def test_an_answer_is_held_against_the_right_one(scores: ComponentProcess, dataset: Path) -> None:
    with serving(lambda _: said(" 3.0\n")) as server:
        config = {
            "type": "api",
            "model": "student",
            "api_endpoint": server.url,
            "build_messages_func": "build_messages",
            "func_kwargs": {"query_key": "text"},
            "ground_truth_key": "n",
            "max_failed_share": 0.3,
        }
        result = measured(scores, config, "api", str(dataset))
    assert [row["__dj__stats__"]["model_score"] for row in rows(result["export_path"])] == [0.0, 0.0, 1.0, None]
    assert "the sample has nothing at n" in rows(result["export_path"])[3]["model_score_error"]
