"""One loaded model for several jobs, with a real daemon: which jobs share a process, and that results do not change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox_actors.system.machine import this_machine

from .conftest import Sandbox

MODEL = {"model_type": "gpt2", "vocab_size": 300, "n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
DOCUMENTATION = {"type": "python_docs_corpus", "export_path": "corpus", "samples": 200, "heldout": 50}


def hook(name: str, meta_name: str, config: dict[str, Any], **job: Any) -> dict[str, Any]:
    return {"hook": name, "meta_name": meta_name, "extra_configs": config, **job}


def training(dataset: str, model: dict[str, Any], **job: Any) -> list[dict[str, Any]]:
    config = {"type": "transformers", "model": model, "output_dir": "model", "tokens": 1280, "block_size": 32}
    wired = {"extra_configs.train_dataset": f"data.corpus.{dataset}", "extra_configs.tokenizer": "data.tokenizer.path"}
    placeholders = {"train_dataset": "<data>", "tokenizer": "<tokenizer>"}
    return [hook("TrainModelHook", "train", {**config, **placeholders, "batch_size": 4}, input=wired, **job)]


def experiment(**trainings: list[dict[str, Any]]) -> dict[str, Any]:
    corpus = hook("GeneralDataExecutorHook", "corpus", DOCUMENTATION, output=["train", "heldout"])
    tokenizing = {"type": "tokenizer_training", "dataset_path": "<texts>", "export_path": "tok", "vocab_size": 300}
    wired = {"extra_configs.dataset_path": "data.corpus.train"}
    tokenizer = hook("GeneralDataExecutorHook", "tokenizer", tokenizing, input=wired, output="path")
    jobs = {"data": [corpus, tokenizer], **trainings}
    pipelines = [{name: {"execution_job_configs": each}} for name, each in jobs.items()]
    return {"project_name": "tests", "experiment_name": "warm", "work_dir": "work", "pipelines": pipelines}


def run(sandbox: Sandbox, **trainings: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The training jobs, and their losses, by pipeline."""
    path = sandbox.cwd / "warm.json"
    path.write_text(json.dumps(experiment(**trainings)))
    with sandbox.client() as client:
        detail = sandbox.wait(client, client.submit(path))
        assert [job.error for job in detail.jobs if job.error] == []
        rows = client.metrics("@", "loss")
    losses = {name: [(row.step, row.value) for row in rows if row.pipeline == name] for name in trainings}
    return {job.pipeline: job for job in detail.jobs if job.meta_name == "train"}, losses


def test_jobs_with_the_same_model_share_a_process_and_another_model_gets_its_own(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sandbox.cwd)
    jobs, losses = run(
        sandbox,
        first=training("train", MODEL),
        other_data=training("heldout", MODEL),
        again=training("train", MODEL),
        other_model=training("train", {**MODEL, "n_embd": 8}),
    )
    assert [jobs[name].warm for name in losses] == [False, True, True, False]
    assert len({jobs[name].worker for name in ("first", "other_data", "again")}) == 1
    assert jobs["other_model"].worker != jobs["first"].worker
    assert len(losses["first"]) == 10
    assert losses["again"] == losses["first"] != losses["other_data"]
    with sandbox.client() as client:
        models = {row.model for row in client.workers() if row.component == "transformers-train-executor"}
    assert len(models) == 2


@pytest.mark.skipif(not this_machine().gpus, reason="there is no NVIDIA device in /dev")
def test_a_job_trains_on_the_gpu_that_it_was_given(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sandbox.cwd)
    jobs, _ = run(sandbox, gpu=training("train", MODEL, resources={"gpus": 1}))
    with open(jobs["gpu"].log) as log:
        assert "parameters on cuda:0" in log.read()
