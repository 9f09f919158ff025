"""Inference through a daemon: configs/auto_prompt_optimization with a real server, and functions of the user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.components.inference.ugly_server import Asked, Reply, echo, refused, serving
from tests.local_server import LocalServer

from .conftest import Sandbox
from .test_demo import ROOT, run, shown

FILE = "configs/auto_prompt_optimization/sandbox.yaml"
CANARY = "sk-canary-0123456789-abcdef"
ITERATIONS = 2


@pytest.fixture
def place(unserved: Sandbox, local_server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A home whose daemon has a key, and the experiment, configured for the server as its comment says."""
    (unserved.cwd / "configs").symlink_to(ROOT / "configs")
    text = (ROOT / FILE).read_text()
    text = text.replace("&endpoint http://127.0.0.1:8000/v1", f"&endpoint {local_server.url}")
    text = text.replace("&model outputs/auto_prompt_optimization/model", f"&model {local_server.model}")
    (unserved.cwd / "mine.yaml").write_text(text)
    unserved.environ["OPENAI_API_KEY"] = CANARY
    unserved.start()
    return unserved


def test_prompts_are_generated_and_tried_and_the_best_are_kept(place: Sandbox, local_server: LocalServer) -> None:
    settings = [
        *("--set", f"max_iter_num={ITERATIONS}"),
        *("--set", "iter_targets=[optimization.evaluate.min_mse <= 0.0]"),
    ]
    ran = run(place, "run", "mine.yaml", *settings)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    detail = shown(place, "show", "@")
    assert [job["error"] for job in detail["jobs"] if job["error"]] == []
    iterations = [by_job(each["context_infos"]) for each in detail["iterations"]]
    assert len(iterations) == ITERATIONS

    first, second = iterations
    assert prompts(first["generate"]["prompts"])[:1] == prompts(ROOT / "configs/auto_prompt_optimization/prompts.jsonl")
    assert len(first["join"]["questions"]) == 4, "the first prompt and three new ones"
    assert len(second["join"]["questions"]) == 6, "the best three and three new ones"
    assert prompts(second["generate"]["prompts"])[:3] == prompts(first["merge"]["best_prompts"])
    for each in iterations:
        errors = {result["pred_path"]: result["mse"] for result in each["evaluate"]["by_prompt"]}
        assert each["evaluate"]["min_mse"] == min(errors.values())
        assert list(errors) == each["infer"]["answers"]
        answers = [json.loads(line) for line in Path(each["infer"]["answers"][0]).read_text().splitlines()]
        assert len(answers) == 12
        assert all(0 <= row["grade"] <= 1 for row in answers)
        best = sorted(errors.values())[:3]
        assert [errors[answers_to(pool, each)] for pool in each["rank"]["best_pools"]] == best
    leaks = [path for path in place.home.parent.rglob("*") if holds(path, CANARY)]
    leaks += [path for path in (place.cwd / "outputs").rglob("*") if holds(path, CANARY)]
    assert leaks == []


def test_an_inference_with_functions_of_the_user_continues_in_a_later_experiment(
    sandbox: Sandbox,
) -> None:
    def behave(asked: Asked) -> Reply:
        return refused(401, "not yet") if is_closed and asked.text == "ASK q9" else echo(asked)

    (sandbox.cwd / "mine").mkdir()
    (sandbox.cwd / "mine" / "asking.py").write_text(
        "def build(item, **_):\n    return [{'role': 'user', 'content': 'ASK ' + item['query']}]\n"
    )
    (sandbox.cwd / "data.jsonl").write_text("".join(f'{{"query": "q{number}"}}\n' for number in range(12)))
    is_closed = True
    with serving(behave) as server:
        (sandbox.cwd / "infer.yaml").write_text(
            "execution_job_configs:\n"
            "  - hook: InferModelHook\n"
            "    meta_name: infer\n"
            "    output: answers\n"
            "    component_path: mine\n"
            f"    extra_configs: {{type: api, model: tiny, api_endpoint: {server.url}, max_concurrency: 1,\n"
            "      dataset_path: data.jsonl, export_path: out, build_messages_func: 'asking:build'}\n"
        )
        failed = run(sandbox, "run", "infer.yaml")
        assert failed.returncode == 1
        assert "answered 401: not yet" in failed.stdout + failed.stderr
        is_closed = False
        ran = run(sandbox, "run", "infer.yaml")
        assert ran.returncode == 0, ran.stdout + ran.stderr
    (path,) = (infos["answers"] for infos in shown(sandbox, "show", "@")["iterations"][0]["context_infos"]["anonymous"])
    answers = [json.loads(line)["response"] for line in Path(path).read_text().splitlines()]
    assert answers == [f"echo of ASK q{number}" for number in range(12)]
    metrics = {row["name"]: row["value"] for row in shown(sandbox, "metrics", "@")}
    assert (metrics["samples"], metrics["taken_over"], metrics["failed"]) == (12, 9, 0)


def by_job(context_infos: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {infos["meta_name"]: infos for jobs in context_infos.values() for infos in jobs}


def prompts(path: str | Path) -> list[str]:
    return [json.loads(line)["prompt"] for line in Path(path).read_text().splitlines()]


def answers_to(pool: str, infos: dict[str, dict[str, Any]]) -> str:
    """The answers to the prompt that a pool holds."""
    place: int = infos["separate"]["pools"].index(pool)
    return str(infos["infer"]["answers"][place])


def holds(path: Path, text: str) -> bool:
    return path.is_file() and not path.is_symlink() and "envs" not in path.parts and text.encode() in path.read_bytes()
