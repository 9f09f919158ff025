"""Whatever a component returns, raises, watches or does to its process: the job has an answer that names it, and the
next job is not affected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.protocol.rows import ExperimentDetail, JobRow

from .conftest import Sandbox

EVERYDAY = {"how": "return: own text"}


def run(sandbox: Sandbox, *jobs: dict[str, Any], kind: str = "Hostile") -> ExperimentDetail:
    """Run an experiment of jobs that go on whatever became of the one before."""
    prepared = [{"type": kind, "meta_name": f"job{number}", **job} for number, job in enumerate(jobs)]
    definition = sandbox.definition(*prepared)
    pipeline = definition["experiment"]["pipelines"][0]
    for job in pipeline["execution_jobs"]:
        job["extra_configs"]["type"] = f"hostile:{job['extra_configs']['type'].partition(':')[2]}"
    with sandbox.client() as client:
        return sandbox.wait(client, client.submit_definition(definition))


def hostile(sandbox: Sandbox, how: str, **config: Any) -> JobRow:
    """A job that does what `how` says; one that runs in the same process afterwards succeeds."""
    (job,) = run(sandbox, {"how": how, **config}).jobs
    after = run(sandbox, EVERYDAY)
    assert after.experiment.state == "succeeded", after.experiment.error
    if job.state == "failed":
        assert len(job.error) <= 20_000
        assert "without delivering a result" not in job.error
    return job


def log(sandbox: Sandbox) -> str:
    return (sandbox.cwd / "work" / "log" / "job0.log").read_text()


def output(detail: ExperimentDetail) -> Any:
    return detail.iterations[-1].context_infos["anonymous"][-1]["res_0"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("large", "the output takes 20,000,005 bytes, and the limit is 4,194,304: write it to a file"),
        ("large output of several", "output 1 takes 5,000,005 bytes of 5,000,011 for all outputs"),
        ("surrogate", r"the output.path is 'caf\udce9.txt', which cannot be encoded as UTF-8"),
        ("surrogate key", r"a key of the output is 'caf\udce9.txt'"),
        ("surrogate path", r"the output is 'caf\udce9.txt'"),
        ("same keys", "the output has several keys that are '1' as text"),
        ("long integer", "the output cannot be recorded: ValueError"),
        ("silent", "the output cannot be recorded: OSError: no list"),
        ("generator", "the output is a builtins.generator, which cannot be recorded"),
        ("bytes", "the output is a builtins.bytes, which cannot be recorded"),
    ],
)
def test_a_result_that_cannot_be_recorded_is_an_error_that_names_it(served: Sandbox, name: str, error: str) -> None:
    job = hostile(served, f"return: {name}")
    assert job.state == "failed"
    assert error in job.error


def test_text_of_a_class_of_its_own_and_odd_keys_are_recorded(served: Sandbox) -> None:
    assert output(run(served, EVERYDAY)) == "done"
    assert output(run(served, {"how": "return: nan key"})) == {"nan": "done"}


def test_later_jobs_get_the_numbers_that_json_lacks_and_its_readers_get_strings(served: Sandbox) -> None:
    tells = {"type": "Tells", "value": "", "input": {"extra_configs.value": "anonymous.job0.res_0"}}
    assert output(run(served, {"how": "return: nan"}, tells)) == "[nan, inf]"
    text = (served.cwd / "work" / "context_infos.json").read_text()
    jobs = json.loads(text, parse_constant=pytest.fail)[0]["context_infos"]["anonymous"]
    assert jobs[0] == {"meta_name": "job0", "res_0": ["NaN", "Infinity"]}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("surrogate", r"OSError: no such file: caf\xe9.txt"),
        ("half a character", r"ValueError: \ud800"),
        ("large", "characters are left out here; the log has all of it"),
        ("without text", "Unspeakable: an exception whose text cannot be had"),
        ("own class", "OwnStop: stop"),
        ("GeneratorExit", "GeneratorExit"),
        ("CancelledError", "CancelledError"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("exit with an object", "the component called sys.exit('Silent') instead of returning a result"),
    ],
)
def test_whatever_a_component_raises_is_the_answer(served: Sandbox, name: str, error: str) -> None:
    job = hostile(served, f"raise: {name}")
    assert job.state == "failed"
    assert error in job.error


def test_odd_names_values_and_steps_of_metrics_cost_no_training(served: Sandbox) -> None:
    detail = run(served, {"how": "watch: odd"})
    assert output(detail) == "done"
    with served.client() as client:
        found = {row.name: row.value for row in client.metrics(detail.experiment.id) if row.step == 1}
    assert found["value"] == r"caf\xe9.txt"
    assert found[r"caf\xe9.txt"] == found[r"mapping.caf\xe9.txt"] == found["7"] == found["last"] == 1
    assert found["integer"] == 2**63
    assert len(str(found["large"])) < 40_000
    assert sum(name.startswith("nnn") and len(name) <= 1_000 for name in found) == 1


def test_a_step_that_is_no_whole_number_is_refused_where_it_is_given(served: Sandbox) -> None:
    detail = run(served, {"how": "watch: steps"})
    assert detail.experiment.state == "succeeded"
    assert log(served).count("refused: the step of a metric must be a whole number") == 5
    with served.client() as client:
        assert [row.name for row in client.metrics(detail.experiment.id) if row.step is not None] == ["last"]


def test_too_many_metrics_of_a_line_and_large_errors_cost_the_metrics_of_that_line(served: Sandbox) -> None:
    detail = run(served, {"hook": "TrainModelHook"}, kind="WatchesTooMuch")
    assert detail.experiment.state == "succeeded"
    with served.client() as client:
        assert "last" in {row.name for row in client.metrics(detail.experiment.id)}
    assert "metrics of this run are missing: _watch_run raised at 3 lines; first:" in log(served)


def test_inputs_that_no_message_can_hold_fail_their_job_by_name(served: Sandbox) -> None:
    size, count = 4_000_000, 5
    texts = [{"type": "Makes", "meta_name": f"make{number}", "size": size} for number in range(count)]
    inputs = {f"extra_configs.text{number}": f"anonymous.make{number}.res_0" for number in range(count)}
    takes = {"type": "Takes", "meta_name": "take", "input": inputs}
    detail = run(served, *texts, takes)
    assert [job.state for job in detail.jobs] == ["succeeded"] * count + ["failed"]
    assert "bytes, and the limit is 16,777,216; put long lists and texts into files" in detail.jobs[-1].error
    few = {**takes, "input": dict(list(inputs.items())[:2])}
    assert output(run(served, *texts[:2], few)) == 2 * size


@pytest.mark.parametrize(
    ("how", "in_log"),
    [
        ("forks", "in the child"),
        ("forks_and_exits", "status 7"),
        ("forks_and_raises", "in the child only"),
        ("closes_outputs", ""),
        ("replaces_streams", ""),
        ("loses_its_folder", ""),
        ("changes_signals", ""),
    ],
)
def test_what_a_component_does_to_its_process_loses_no_result(served: Sandbox, how: str, in_log: str) -> None:
    detail = run(served, {"how": how, "folder": str(served.cwd / "lost")})
    assert output(detail) == "done"
    assert in_log in log(served)
    assert run(served, EVERYDAY).experiment.state == "succeeded"


def test_an_error_is_logged_though_the_streams_are_gone(served: Sandbox) -> None:
    job = hostile(served, "replaces_streams_and_raises")
    assert "ValueError: with no stream" in job.error
    assert "ValueError: with no stream" in Path(job.log).read_text()


def test_a_child_that_returns_records_what_it_watches(served: Sandbox) -> None:
    detail = run(served, {"how": "forks"})
    with served.client() as client:
        assert [row.value for row in client.metrics(detail.experiment.id, "of the child")] == [1]


def test_one_that_closes_the_descriptors_of_its_process_fails_alone(served: Sandbox) -> None:
    (job,) = run(served, {"how": "closes_all"}).jobs
    assert job.state in ("succeeded", "failed")
    assert run(served, EVERYDAY).experiment.state == "succeeded"
