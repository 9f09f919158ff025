"""The `vllm` type against a stand-in with the arguments of vLLM's documented interface: its package needs a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.components.conftest import ComponentProcess, Start
from tests.components.inference.test_api import dataset, exported, results

TARGET = "tests.components.inference.vllm_in_place:VllmInferExecutor"


@pytest.fixture(scope="session")
def vllm(start_component: Start) -> ComponentProcess:
    return start_component("transformers", TARGET)


def config(model: Path, data: Path, **settings: Any) -> dict[str, Any]:
    return {
        "type": "vllm",
        "model": str(model),
        "dataset_path": str(data),
        "export_path": str(data.parent / "out"),
        **settings,
    }


def test_whole_datasets_are_handed_over_with_what_vllm_documents(
    vllm: ComponentProcess, tiny_chat: Path, tmp_path: Path
) -> None:
    data = dataset(tmp_path, 7)
    params = {"model_params": {"dtype": "bfloat16"}, "sampling_params": {"temperature": 0.5, "top_p": 0.9}}
    ran = vllm.run(config(tiny_chat, data, **params), "vllm")
    assert ran.error is None, ran.log
    assert [row["response"] for row in exported(ran)] == [f"echo of q{number}" for number in range(7)]
    assert f"engine of {tiny_chat}: 1 bfloat16 42" in ran.log
    assert "7 conversations with 512 42" in ran.log
    assert (results(ran)["prompt_tokens"], results(ran)["completion_tokens"]) == (21, 14)
    warm = vllm.run(config(tiny_chat, data, **params, chunk_size=3), "vllm")
    assert "engine of" not in warm.log
    assert [line.split()[0] for line in warm.log.splitlines() if "conversations" in line] == ["3", "3", "1"]


def test_a_conversation_that_vllm_refuses_costs_no_other_its_answer(
    vllm: ComponentProcess, tiny_chat: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"query": "q" * length}) + "\n" for length in (3, 4, 99, 5, 6)))
    rows = exported(vllm.run(config(tiny_chat, data, max_failed_share=0.2), "vllm"))
    assert [row["response"] is None for row in rows] == [False, False, True, False, False]
    assert "vLLM refuses it: the prompt is longer than the maximum model length" in rows[2]["response_error"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling_params": {"max_new_tokens": 3}}, "sampling_params: vLLM does not accept them"),
        ({"sampling_params": {"n": 2}}, "sampling_params.n: must be 1"),
        ({"model_params": {"gpus": 3}}, "vLLM cannot start with"),
        ({"model": "./absent"}, "no folder"),
    ],
    ids=["sampling", "n", "model_params", "model"],
)
def test_what_vllm_does_not_take_is_told(
    vllm: ComponentProcess, tiny_chat: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    assert message in (vllm.run({**config(tiny_chat, dataset(tmp_path, 2)), **settings}, "vllm").error or "")


def test_without_vllm_or_a_device_for_it_the_error_says_what_does_without(
    start_component: Start, tiny_chat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tiny_chat, dataset(tmp_path, 2))
    without = start_component("api", "components.inference.vllm_engine:VllmInferExecutor").run(settings, "vllm")
    assert "vLLM cannot be imported: No module named 'vllm'; type `vllm` needs an NVIDIA GPU" in (without.error or "")
    monkeypatch.setenv("STAND_IN_FAILS", "1")
    failed = start_component("transformers", TARGET).run(settings, "vllm")
    assert "RuntimeError: Failed to infer device type; type `vllm` needs an NVIDIA GPU" in (failed.error or "")
