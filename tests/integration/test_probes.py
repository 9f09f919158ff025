"""Jobs that take two actors, one after the other, through a real daemon in real workers."""

from __future__ import annotations

import re
from typing import Any

from .conftest import Sandbox


def probe(sandbox: Sandbox, sampler: str = "Samples", **dj_configs: Any) -> dict[str, Any]:
    (sandbox.cwd / "data.jsonl").write_text("one\ntwo\nthree\n")
    return {
        "type": "Answers",
        "hook": "ProbeViaModelInferHook",
        "meta_name": "probe",
        "dj_configs": {
            "type": f"faulty:{sampler}",
            "dataset_path": str(sandbox.cwd / "data.jsonl"),
            "export_path": str(sandbox.cwd / "out" / "sample.jsonl"),
            **dj_configs,
        },
    }


def test_a_model_is_asked_about_a_sample_that_another_actor_has_drawn(served: Sandbox) -> None:
    detail = served.run(probe(served))
    assert detail.experiment.state == "succeeded", detail.jobs[0].error
    found = {"bytes": 8, "type": "faulty:Answers", "sample": str(served.cwd / "out" / "iter_1" / "sample.jsonl")}
    assert detail.iterations[0].context_infos["anonymous"] == [{"meta_name": "probe", "res_0": found}]
    with served.client() as client:
        assert {row.name: row.value for row in client.metrics("@", "probe.bytes")} == {"probe.bytes": 8}
        log = b"".join(client.log("@", "probe")).decode()
    drawn, answered = re.fullmatch(r"sample by (\d+)\nanswers by (\d+)\n", log).groups()  # type: ignore[union-attr]
    assert drawn != answered
    assert detail.jobs[0].worker.startswith("answers-")


def test_without_a_sample_the_model_is_not_asked(served: Sandbox) -> None:
    detail = served.run(probe(served, dataset_path="absent.jsonl"))
    assert detail.experiment.state == "failed"
    assert "absent.jsonl" in detail.jobs[0].error
    with served.client() as client:
        assert b"answers" not in b"".join(client.log("@", "probe"))
