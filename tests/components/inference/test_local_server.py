"""The `api` type and prompt generation against a real server, `transformers serve`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.components.conftest import ComponentProcess, Start
from tests.components.inference.test_api import config, dataset, exported, results, run
from tests.components.inference.ugly_server import Asked, Reply, refused, said, serving
from tests.local_server import LocalServer


@pytest.fixture(scope="session")
def generation(start_component: Start) -> ComponentProcess:
    return start_component("api", "components.inference.prompt_generation:PromptGeneration")


def test_a_real_server_answers_each_question_as_transformers_would(
    api: ComponentProcess,
    huggingface: ComponentProcess,
    local_server: LocalServer,
    tmp_path: Path,
) -> None:
    data = dataset(tmp_path, 12)
    sampling = {"max_tokens": 2, "temperature": 0}
    asked = config(None, data, api_endpoint=local_server.url, model=local_server.model, sampling_params=sampling)
    ran = run(api, {**asked, "max_concurrency": 4})
    served = [row["response"] for row in exported(ran)]
    assert results(ran)["completion_tokens"] == 24
    own = {
        "type": "huggingface",
        "model": local_server.model,
        "dataset_path": str(data),
        "export_path": str(tmp_path / "own"),
        "sampling_params": sampling,
    }
    assert served == [row["response"] for row in exported(huggingface.run(own, "huggingface"))]
    assert all(answer.count(".") == 2 for answer in served)


def test_what_a_real_server_refuses_is_told(
    api: ComponentProcess,
    local_server: LocalServer,
    tmp_path: Path,
) -> None:
    asked = config(None, dataset(tmp_path, 3), api_endpoint=local_server.url, model="another")
    assert "Server is pinned to" in (api.run(asked, "api").error or "")


def prompts(folder: Path, *texts: str) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text, "by": "hand", "n": 1.50}) + "\n" for text in texts))
    return path


def generate(process: ComponentProcess, settings: dict[str, Any]) -> list[dict[str, Any]]:
    ran = process.run(settings)
    assert ran.error is None, ran.error + ran.log
    return [json.loads(line) for line in Path(ran.result).read_text().splitlines()]


def test_a_real_server_makes_new_prompts(
    generation: ComponentProcess, local_server: LocalServer, tmp_path: Path
) -> None:
    rows = generate(
        generation,
        {
            "type": "prompt_generation",
            "model": local_server.model,
            "api_endpoint": local_server.url,
            "dataset_path": str(prompts(tmp_path, "Grade this.", "Give a grade.")),
            "export_path": str(tmp_path / "out"),
            "sampling_params": {"max_tokens": 8, "temperature": 1.0},
        },
    )
    assert [row["prompt"] for row in rows[:2]] == ["Grade this.", "Give a grade."]
    assert len({row["prompt"] for row in rows}) == 5
    assert {(row["by"], row["n"]) for row in rows} == {("hand", 1.5)}


def test_new_prompts_join_what_the_model_is_shown_and_old_ones_are_asked_for_again(
    generation: ComponentProcess, tmp_path: Path
) -> None:
    answers = iter(["Prompt: A", "A", "", "Prompt:\nB\nb", "C"])
    with serving(lambda asked: said(next(answers))) as server:
        rows = generate(
            generation,
            {
                **config(server, prompts(tmp_path, "A")),
                "export_path": str(tmp_path / "new.jsonl"),
                "gen_num": 2,
                "retry_num": 4,
                "max_example_num": 2,
                "keep_original_sample": False,
                "system_prompt": "Improve.",
            },
        )
    assert [row["prompt"] for row in rows] == ["B\nb", "C"]
    assert server.asked[-1].body["messages"] == [
        {"role": "system", "content": "Improve."},
        {"role": "user", "content": "Prompt:\nA\n\nPrompt:\nB\nb\n\n"},
    ]


@pytest.mark.parametrize(
    ("settings", "reply", "message"),
    [
        ({}, said("A"), "the model made no new prompt in 9 attempts"),
        ({"output_pattern": "<(.*)>"}, said("x"), "the model made no new prompt in 9 attempts"),
        ({}, refused(400, "too much"), "cannot ask the model for prompts"),
        ({"output_pattern": "("}, said("x"), "output_pattern: not a regular expression"),
        ({"gen_num": 0}, said("x"), "gen_num: must be at least 1"),
        ({"example_template": "none"}, said("x"), "example_template: must contain {}"),
        (
            {"prompt_key": "text"},
            said("x"),
            "prompts.jsonl, line 1: no prompt under 'text'; its keys are prompt, by, n",
        ),
        ({"dataset_path": "absent.jsonl"}, said("x"), "absent.jsonl is not a file"),
    ],
)
def test_what_makes_no_prompts_is_told(
    generation: ComponentProcess, tmp_path: Path, settings: dict[str, Any], reply: Reply, message: str
) -> None:
    def behave(asked: Asked) -> Reply:
        return reply

    with serving(behave) as server:
        error = generation.run({**config(server, prompts(tmp_path, "A")), **settings}).error
    assert message in (error or "")
