"""Jobs that use two actors, one after the other, with a real daemon and real workers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .commands import sandbox as command
from .conftest import Sandbox


def probe(sandbox: Sandbox, sampler: str = "Samples", **dj_configs: Any) -> dict[str, Any]:
    (sandbox.cwd / "data.jsonl").write_text("one\ntwo\nthree\n")
    return {
        "type": "probing:Answers",
        "hook": "ProbeViaModelInferHook",
        "meta_name": "probe",
        "dj_configs": {
            "type": f"probing:{sampler}",
            "dataset_path": str(sandbox.cwd / "data.jsonl"),
            "export_path": str(sandbox.cwd / "out" / "sample.jsonl"),
            **dj_configs,
        },
    }


def test_a_model_is_probed_with_a_sample_from_another_actor(served: Sandbox) -> None:
    detail = served.run(probe(served))
    assert detail.experiment.state == "succeeded", detail.jobs[0].error
    found = {"bytes": 8, "type": "probing:Answers", "sample": str(served.cwd / "out" / "iter_1" / "sample.jsonl")}
    assert detail.iterations[0].context_infos["anonymous"] == [{"meta_name": "probe", "res_0": found}]
    with served.client() as client:
        assert {row.name: row.value for row in client.metrics("@")} == {"probe.bytes": 8}
        log = b"".join(client.log("@", "probe")).decode()
    sampler, model = re.fullmatch(r"sample by (\d+)\nanswers by (\d+)\n", log).groups()  # type: ignore[union-attr]
    assert sampler != model
    assert detail.jobs[0].worker.startswith("answers-")


def test_without_a_sample_the_model_is_not_probed(served: Sandbox) -> None:
    detail = served.run(probe(served, dataset_path="absent.jsonl"))
    assert detail.experiment.state == "failed"
    assert "absent.jsonl" in detail.jobs[0].error
    with served.client() as client:
        assert b"answers" not in b"".join(client.log("@", "probe"))


def test_several_results_of_an_evaluation_are_recorded_by_name(served: Sandbox) -> None:
    path = served.cwd / "graded.jsonl"
    path.write_text('{"grade": 1, "truth": 3}\n{"grade": "2", "truth": 2}\n{"grade": "none", "truth": 2}\n')
    detail = served.run(
        {
            "type": "replaced",
            "local": {"extra_configs.type": "mse"},
            "hook": "EvaluateDataHook",
            "meta_name": "grades",
            "output": ["results", "min_mse"],
            "predicted_dataset_path": str(path),
            "predicted_value_key": "grade",
            "ground_truth_value_key": "truth",
        }
    )
    assert detail.experiment.state == "succeeded", detail.jobs[0].error
    (entry,) = detail.iterations[0].context_infos["anonymous"]
    assert [(each["mse"], each["format_error"]) for each in entry["results"]] == [(2.0, 1)]
    assert entry["min_mse"] == 2.0
    with served.client() as client:
        assert {row.name: row.value for row in client.metrics("@")} == {"grades.min_mse": 2.0}


def refining(sandbox: Sandbox) -> list[dict[str, Any]]:
    """An analysis, and two recipes refined by it."""
    folder = sandbox.cwd / "analysis"
    folder.mkdir(exist_ok=True)
    (folder / "text_len-hist.png").touch()
    lengths = range(100)
    samples = [{"loss": abs(length - 49.5), "__dj__stats__": {"text_len": length}} for length in lengths]
    dataset = sandbox.cwd / "iter_1" / "analysed.jsonl"
    dataset.parent.mkdir(exist_ok=True)
    dataset.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    analyze = {
        "type": "probing:Analyzes",
        "export_path": str(sandbox.cwd / "analysed.jsonl"),
        "analysis_path": str(folder),
        "overall": {"mean": {"text_len": 50.0}, "std": {"text_len": 10.0}, "max": {"text_len": 99.0}},
    }
    recipe = {
        "process": [{"text_length_filter": {"min_len": 5, "max_len": 10_000}}, {"words_num_filter": {"min_num": 1}}]
    }
    sigma = {"path_k_sigma_recipe": str(sandbox.cwd / "sigma.json"), "k": 2}
    feedback = {
        "path_model_feedback_recipe": str(sandbox.cwd / "feedback.json"),
        "measure_key": "loss",
        "band": [0.0, 0.5],
    }
    jobs = [
        ("ProbeViaAnalyzerHook", analyze, {}),
        ("RefineRecipeViaKSigmaHook", recipe, sigma),
        ("RefineRecipeViaModelFeedbackHook", recipe, feedback),
    ]
    return [
        {"type": "unused", "hook": hook, "meta_name": "probe", "dj_configs": dj_configs, **extra_configs}
        for hook, dj_configs, extra_configs in jobs
    ]


def test_a_recipe_is_refined_by_an_analysis_and_every_bound_is_shown(served: Sandbox) -> None:
    detail = served.run(*refining(served), project_name="refining")
    assert detail.experiment.state == "succeeded", [job.error for job in detail.jobs]
    outputs = [each["res_0"] for each in detail.iterations[0].context_infos["anonymous"]]
    assert [Path(path).name for path in outputs] == ["analysed.jsonl", "sigma.json", "feedback.json"]
    bounds = [json.loads(Path(path).read_text())["process"][0]["text_length_filter"] for path in outputs[1:]]
    assert bounds == [{"min_len": 30, "max_len": 70}, {"min_len": 25, "max_len": 74}]
    with served.client() as client:
        found = {row.name: row.value for row in client.metrics("@")}
    assert found["probe.max.text_len"] == 99
    assert found["probe.files.analysis"] == str(served.cwd / "analysis")
    assert found["probe.bounds.text_length_filter.min_len.before"] == 5
    assert found["probe.bounds.text_length_filter.min_len.gone_after"] == 25
    assert "no num_words" in found["probe.bounds.words_num_filter.min_num.reason"]

    shown = command(served, "show", "@").stdout
    cells = [line.split() for line in shown.splitlines()]
    assert ["text_length_filter", "min_len", "5", "25", "5", "→", "25", "text_len"] in cells
    assert ["text_length_filter", "max_len", "10,000", "74", "0", "→", "25", "text_len"] in cells
    assert "the dataset has no num_words" in shown
    assert ["text_len", "50", "10", "99"] in cells
    assert f"analysis  {served.cwd / 'analysis'}  (1 plots)" in shown
