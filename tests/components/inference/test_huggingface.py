"""The `huggingface` type: a real model of random weights, in its real env."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.system.machine import this_machine
from tests.components.conftest import ComponentProcess, Ran, Start
from tests.components.inference.test_api import exported, results

ENV, TARGET = "transformers", "components.inference.huggingface:HuggingFaceInferExecutor"
LOADS = "Loading weights"
"""What transformers says when it loads a model."""


def dataset(folder: Path, count: int, name: str = "data") -> Path:
    """Questions of many lengths, in no order."""
    path = folder / f"{name}.jsonl"
    queries = (f"question {number} {'x' * (number * 37 % 101)}" for number in range(count))
    path.write_text("".join(json.dumps({"query": query}) + "\n" for query in queries))
    return path


def config(model: Path, data: Path, **settings: Any) -> dict[str, Any]:
    return {
        "type": "huggingface",
        "model": str(model),
        "dataset_path": str(data),
        "export_path": str(data.parent / "out"),
        "sampling_params": {"max_new_tokens": 8},
        "batch_size": 8,
        **settings,
    }


def run(process: ComponentProcess, settings: dict[str, Any]) -> Ran:
    ran = process.run(settings, "huggingface")
    assert ran.error is None, ran.error + ran.log
    return ran


def responses(ran: Ran) -> list[str]:
    return [row["response"] for row in exported(ran)]


RANDOM = {"max_tokens": 8, "temperature": 1.5, "top_k": 0}


def test_batches_say_what_prompts_one_by_one_say(
    huggingface: ComponentProcess, tiny_chat: Path, tmp_path: Path
) -> None:
    data = dataset(tmp_path, 30)
    single = responses(run(huggingface, config(tiny_chat, data, batch_size=1)))
    batched = run(huggingface, config(tiny_chat, data))
    assert responses(batched) == single
    assert len(set(single)) > 5, "the model looks at the questions"
    assert all(response.count(".") == 8 for response in single), "eight grades each"
    reported = results(batched)
    assert (reported["samples"], reported["failed"], reported["completion_tokens"]) == (30, 0, 240)
    queries = [json.loads(line)["query"] for line in data.read_text().splitlines()]
    assert [row["query"] for row in exported(batched)] == queries


def test_a_warm_run_gives_what_a_cold_one_gives_and_loads_nothing(
    huggingface: ComponentProcess, start_component: Start, tiny_chat: Path, tmp_path: Path
) -> None:
    random = config(tiny_chat, dataset(tmp_path, 20), sampling_params=RANDOM)
    cold = start_component(ENV, TARGET)
    first = run(cold, random)
    expected = responses(first)
    assert responses(run(cold, {**random, "seed": 1})) != expected
    run(huggingface, config(tiny_chat, dataset(tmp_path, 3, "other")))
    warm = run(huggingface, random)
    assert LOADS in first.log
    assert LOADS not in warm.log
    assert responses(warm) == expected


def test_an_inference_that_was_killed_goes_on_and_says_what_it_would_have_said(
    huggingface: ComponentProcess, start_component: Start, tiny_chat: Path, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    random: dict[str, Any] = {"sampling_params": {**RANDOM, "max_tokens": 40}, "batch_size": 4}
    whole = run(huggingface, config(tiny_chat, dataset(tmp_path / "whole", 60), **random))
    settings = config(tiny_chat, dataset(tmp_path, 60), **random)
    victim = start_component(ENV, TARGET)
    victim.send(settings, "huggingface")
    deadline = time.monotonic() + 60
    while answers(tmp_path / "out") < 10:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)
    assert not (tmp_path / "out" / "data_inference.jsonl").exists()
    resumed = run(huggingface, settings)
    assert 10 <= results(resumed)["taken_over"] < 60
    assert responses(resumed) == responses(whole)


def answers(folder: Path) -> int:
    """How many lie in the file of an unfinished inference."""
    return sum(path.read_bytes().count(b"\n") - 1 for path in folder.glob(".*.partial"))


def test_a_model_that_was_written_anew_to_its_place_is_loaded_anew(
    huggingface: ComponentProcess, tiny_chat: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_chat, model)
    settings = config(model, dataset(tmp_path, 3))
    run(huggingface, settings)
    assert LOADS not in run(huggingface, settings).log
    shutil.copyfile(tiny_chat / "model.safetensors", model / "model.safetensors")
    assert LOADS in run(huggingface, settings).log


def test_a_prompt_that_the_model_cannot_see_whole_is_no_answer(
    huggingface: ComponentProcess, tiny_chat: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"query": "y" * length}) + "\n" for length in (5, 3000, 2010)))
    rows = exported(run(huggingface, config(tiny_chat, data, max_failed_share=0.4, sampling_params={"max_tokens": 40})))
    assert rows[0]["response"].count(".") == 40
    assert rows[1]["response"] is None
    assert "the prompt has 3018 tokens, and the model has room for 2048" in rows[1]["response_error"]
    assert 0 < rows[2]["response"].count(".") < 40, "what fits is generated"


def test_a_tokenizer_without_a_chat_template_gets_the_contents(
    huggingface: ComponentProcess, tiny_chat: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_chat, model, ignore=shutil.ignore_patterns("chat_template.jinja"))
    data = tmp_path / "data.jsonl"
    data.write_text('{"system": "be short", "query": "hello"}\n')
    reported = results(run(huggingface, config(model, data)))
    assert reported["prompt_tokens"] == len("be short\n\nhello")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "./absent/model"}, "no folder"),
        ({"model": None}, "inference: model: object missing required field `model`"),
        ({"sampling_params": {"max_tokens": 0}}, "sampling_params.max_new_tokens: must be a number of tokens, not 0"),
        ({"batch_size": 0}, "batch_size: must be at least 1"),
        (
            {"sampling_params": {"num_return_sequences": 2}},
            "sampling_params.num_return_sequences: cannot be set in",
        ),
        ({"sampling_params": {"max_new_tokns": 3}}, "transformers does not accept these sampling_params"),
        ({"api_endpoint": "http://localhost"}, "api_endpoint: unknown key"),
    ],
    ids=["absent", "model", "tokens", "batch", "sequences", "sampling", "key"],
)
def test_what_cannot_be_generated_is_told_and_the_process_goes_on(
    huggingface: ComponentProcess, tiny_chat: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    good = config(tiny_chat, dataset(tmp_path, 2))
    assert message in (huggingface.run({**good, **settings}, "huggingface").error or "")
    run(huggingface, good)


def test_stop_strings_and_the_most_likely_answer_are_asked_for_as_apis_do(
    huggingface: ComponentProcess, tiny_chat: Path, tmp_path: Path
) -> None:
    data = dataset(tmp_path, 6)
    greedy = responses(run(huggingface, config(tiny_chat, data)))
    same = responses(run(huggingface, config(tiny_chat, data, sampling_params={"max_tokens": 8, "temperature": 0})))
    assert same == greedy
    stopped = responses(run(huggingface, config(tiny_chat, data, sampling_params={"max_tokens": 8, "stop": ["."]})))
    assert stopped == [response[:3] for response in greedy]


def test_runs_on_end_do_not_grow(huggingface: ComponentProcess, tiny_chat: Path, tmp_path: Path) -> None:
    settings = config(tiny_chat, dataset(tmp_path, 40))
    sizes = [run(huggingface, settings).rss for _ in range(24)]
    assert sizes[-1] - sizes[7] < 8_000_000


@pytest.mark.skipif(not this_machine().gpus, reason="there is no GPU")
def test_the_model_lies_on_the_gpu_where_there_is_one(start_component: Start, tiny_chat: Path, tmp_path: Path) -> None:
    process = start_component(ENV, TARGET)
    ran = run(process, config(tiny_chat, dataset(tmp_path, 20), sampling_params=RANDOM))
    assert responses(run(process, config(tiny_chat, dataset(tmp_path, 20), sampling_params=RANDOM))) == responses(ran)
    with open(f"/proc/{process.pid}/maps") as maps:
        assert "libcuda" in maps.read()
