"""The `sandbox` command as people and programs use it, in real processes with a real daemon."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

from sandbox_actors.client.connection import listener

from .commands import COMMAND, documents, environ_of, job, sandbox, training, until_metric, write
from .conftest import Sandbox

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def test_a_run_ends_with_tables_on_stdout_and_reports_its_progress_on_stderr(served: Sandbox) -> None:
    file = write(served, "both", baseline=[training()], refined=[training(steps=8)])
    done = sandbox(served, "run", file)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^both  succeeded  experiment \d+", done.stdout)
    assert re.search(r"^baseline  train +TrainModel +succeeded ", done.stdout, re.M)
    assert re.search(r"^ +baseline +refined$", done.stdout, re.M)
    assert re.search(r"^seconds +[\d.]+ +[\d.]+", done.stdout, re.M)
    assert re.search(r"^\[\d:\d\d\] refined\.train succeeded in ", done.stderr, re.M)
    assert not CONTROLS.search((done.stdout + done.stderr).replace("\n", ""))


def test_a_run_as_json_is_one_object_per_line_and_ends_with_the_outcome(served: Sandbox) -> None:
    file = write(served, "events", one=[job("Returns", "give", value={"a": 1.5}), training()])
    done = sandbox(served, "run", file, "--json")
    events = documents(done.stdout)
    assert [event["event"] for event in (events[0], events[-1])] == ["submitted", "finished"]
    id = events[0]["experiment"]
    infos = {"one": [{"meta_name": "give", "res_0": {"a": 1.5}}, {"meta_name": "train", "res_0": "faulty:Trains"}]}
    assert events[-1] == {"event": "finished", "experiment": id, "state": "succeeded", "context_infos": infos}
    assert [event["step"] for event in events if event["event"] == "metric"] == [1, 2, 3, 4, 5]
    assert {event["meta_name"] for event in events if event["event"] == "job"} == {"give", "train"}
    assert documents(sandbox(served, "watch", id, "--json").stdout)[-1] == events[-1]


def test_quiet_prints_only_the_id(served: Sandbox) -> None:
    file = write(served, "quiet", one=[job("Returns", "give", value=1)])
    done = sandbox(served, "run", "-q", file)
    assert (done.returncode, done.stderr) == (0, "")
    id = done.stdout.strip()
    assert sandbox(served, "ls", "-q").stdout.split()[0] == id
    assert sandbox(served, "show", "-q", "quiet").stdout.strip() == id
    assert sandbox(served, "submit", file).stdout.strip() == str(int(id) + 1)
    assert documents(sandbox(served, "submit", file, "--json").stdout) == [{"experiment": str(int(id) + 2)}]
    assert sandbox(served, "watch", "-q").returncode == 0


def test_a_failed_run_exits_with_1_and_says_why_and_what_to_do(served: Sandbox) -> None:
    file = write(served, "broken", one=[job("Fails", "fail", how="raise"), training()])
    done = sandbox(served, "run", file)
    assert done.returncode == 1
    assert re.search(r"^one +fail +GeneralDataExecutor +failed .*ValueError: the data are wrong$", done.stdout, re.M)
    assert "Traceback" in done.stderr
    assert re.search(r"`sandbox logs \d+ one\.fail`", done.stderr)
    assert re.search(r"`sandbox resume \d+` continues", done.stderr)
    assert "\x1b" not in done.stdout + done.stderr
    again = sandbox(served, "resume", "broken", "--json")
    assert again.returncode == 1
    assert documents(again.stdout)[0]["event"] == "resumed"
    assert documents(again.stdout)[-1]["state"] == "failed"


def test_set_overrides_a_key_of_the_file(served: Sandbox) -> None:
    file = write(served, "set", one=[job("Returns", "give", value=1)])
    done = sandbox(served, "run", "--json", file, "--set", "one.give.extra_configs.value=[7, 8]")
    assert documents(done.stdout)[-1]["context_infos"]["one"][0]["res_0"] == [7, 8]
    wrong = sandbox(served, "run", file, "--set", "one.gave.extra_configs.value=7")
    assert wrong.returncode == 2
    assert "one.gave" in wrong.stderr


def test_all_errors_of_a_bad_file_are_reported_before_a_daemon_is_started(unserved: Sandbox) -> None:
    file = write(unserved, "bad", one=[job("Returns", "give", hook="GeneralProbHook", value=1), training()])
    (unserved.cwd / "twice.yaml").write_text("a: [1\n")
    for command in (["run", file], ["submit", file, "--json"], ["run", "twice.yaml"], ["run", "nowhere.yaml"]):
        done = sandbox(unserved, *command)
        assert (done.returncode, done.stdout) == (2, "")
        assert "nothing was run" in done.stderr
    assert "GeneralProbeHook" in sandbox(unserved, "run", file).stderr
    checked = sandbox(unserved, "check", "--json", file, "twice.yaml")
    (document,) = documents(checked.stdout)
    assert (checked.returncode, document["valid"], set(document)) == (2, False, {"valid", "errors", "warnings"})
    assert {error["file"] for error in document["errors"]} == {file, "twice.yaml"}
    assert all(set(error) == {"file", "path", "message"} for error in document["errors"])
    good = write(unserved, "good", one=[job("Returns", "give", value=1)])
    assert sandbox(unserved, "check", good).stdout == "good.json: valid\n"
    assert listener(unserved.paths.socket) is None


def test_a_dry_run_prints_the_plan_and_starts_no_daemon(unserved: Sandbox) -> None:
    loads = job("Loads", "load", "TrainModelHook", model="m")
    later = {**job("Loads", "again", model="m"), "input": {"extra_configs.model": "one.load.res_0"}}
    file = write(unserved, "plan", one=[loads, later], two=[job("Returns", "give", value=1)])
    cold = sandbox(unserved, "run", "--dry-run", "--json", file)
    assert cold.returncode == 0, cold.stderr
    (rows,) = documents(cold.stdout)
    assert [(row["index"], row["pipeline"], row["meta_name"]) for row in rows] == [
        (0, "one", "load"),
        (1, "one", "again"),
        (2, "two", "give"),
    ]
    assert rows[0]["hook"] == "TrainModelHook"
    assert {row["list"] for row in rows} == {"execution_jobs"}
    assert {(row["env"], row["warm"]) for row in rows} == {("plain", False)}
    assert [row["component"] for row in rows] == ["loads", "loads", "returns"]
    assert listener(unserved.paths.socket) is None, "no daemon was started"
    table = sandbox(unserved, "run", "--dry-run", file).stdout
    assert re.search(r"^one +execution_jobs +load +TrainModelHook +loads +plain +cold$", table, re.M)


def test_a_dry_run_shows_which_actors_are_warm(served: Sandbox) -> None:
    def planned(*jobs: dict[str, Any]) -> list[bool | None]:
        (rows,) = documents(
            sandbox(served, "run", "--dry-run", "--json", write(served, "forecast", one=[*jobs])).stdout
        )
        return [row["warm"] for row in rows]

    loads = job("Loads", "load", model="dry")
    returns = job("Returns", "give", value=1)
    assert sandbox(served, "run", write(served, "warms", one=[loads, returns])).returncode == 0
    count = len(documents(sandbox(served, "ls", "--json").stdout)[0])
    given = {**loads, "input": {"extra_configs.model": "one.load.res_2"}, "meta_name": "given"}
    assert planned(loads, given, returns) == [True, None, True]
    assert planned(job("Loads", "load", model="another"), job("Returns", "give", value=2)) == [False, True]
    assert planned({**loads, "env": "transformers"}) == [False], "the warm one has another env"
    assert len(documents(sandbox(served, "ls", "--json").stdout)[0]) == count


def test_show_ls_and_metrics_as_json(served: Sandbox) -> None:
    id = sandbox(served, "run", "-q", write(served, "forms", one=[training(steps=3)])).stdout.strip()
    (shown,) = documents(sandbox(served, "show", id, "--json").stdout)
    assert (shown["id"], shown["name"], shown["project"], shown["state"]) == (id, "forms", "tests", "succeeded")
    assert [each["iter"] for each in shown["iterations"]] == [1]
    assert [(each["pipeline"], each["list"], each["attempt"]) for each in shown["jobs"]] == [
        ("one", "execution_jobs", 1)
    ]
    (listed,) = documents(sandbox(served, "ls", "--json").stdout)
    assert (listed[0]["id"], listed[0]["state"], listed[0]["jobs_done"]) == (id, "succeeded", 1)
    for name in ("loss", "train.loss", "one.train.loss"):
        (points,) = documents(sandbox(served, "metrics", "@", name, "--json").stdout)
        assert [(point["name"], point["step"]) for point in points] == [("loss", 1), ("loss", 2), ("loss", 3)]
    table = sandbox(served, "metrics", id).stdout
    assert re.search(r"^one +train +loss +3 +0\.3333 +3 +█", table, re.M)
    missing = sandbox(served, "metrics", id, "lost")
    assert (missing.returncode, missing.stdout) == (0, "")
    assert "recorded so far: loss" in missing.stderr


def test_ls_says_when_older_experiments_are_not_shown(served: Sandbox) -> None:
    file = write(served, "listed", one=[job("Returns", "give", value=1)])
    for _ in range(2):
        assert sandbox(served, "run", file).returncode == 0
    done = sandbox(served, "ls", "-n", "1")
    assert len(done.stdout.splitlines()) == 2, "the heading and the newest experiment"
    assert "older experiments are not shown; `sandbox ls -n 10`" in done.stderr
    assert "not shown" not in sandbox(served, "ls").stderr


def test_an_unknown_name_is_answered_with_the_nearest_one(served: Sandbox) -> None:
    sandbox(served, "run", "-q", write(served, "nearest", one=[job("Returns", "give", value=1)]))
    for command, hint in (
        (["show", "neerest"], "did you mean 'nearest'? `sandbox ls` lists them"),
        (["logs", "nearest", "gave"], "did you mean 'give' or 'one.give'?"),
        (["stop", "unknown"], "sandbox ps"),
    ):
        done = sandbox(served, *command)
        assert (done.returncode, done.stdout) == (2, "")
        assert hint in done.stderr
    assert sandbox(served, "shwo").returncode == 2
    assert sandbox(served).returncode == 2


def test_logs_are_printed_without_control_characters_and_followed_to_their_end(served: Sandbox) -> None:
    gate = served.cwd / "logs.gate"
    file = write(served, "logs", one=[job("Prints", "print", "TrainModelHook"), training(gate=str(gate))])
    id = sandbox(served, "submit", file).stdout.strip()
    with subprocess.Popen(
        [*COMMAND, "logs", "-f", id], cwd=served.cwd, env=environ_of(served), stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        printed = []
        for line in follower.stdout:
            printed.append(line)
            if line == "step 4 loss=0.2500\n":
                gate.touch()
    assert printed[-1] == "step 5 loss=0.2000\n"
    assert {"m: python\n", "m: descriptor\n", "m: bad \ufffd utf-8\n"} <= set(printed)
    assert not any(CONTROLS.search(line.rstrip("\n")) for line in printed)
    assert sandbox(served, "logs", id).stdout.splitlines()[-1] == "step 5 loss=0.2000"
    lines = documents(sandbox(served, "logs", id, "train", "--json").stdout)
    assert lines[-1] == {"job": "train", "line": "step 5 loss=0.2000"}


def test_an_interrupted_run_continues_and_says_how_to_attach_again(served: Sandbox) -> None:
    gate = served.cwd / "interrupt.gate"
    file = write(served, "interrupt", one=[training(gate=str(gate))])
    status, stderr = until_metric(served, file, lambda run: run.send_signal(signal.SIGINT))
    assert status == 130
    assert re.search(r"`sandbox watch \d+` attaches again, `sandbox cancel \d+` cancels it", stderr)
    with served.client() as client:
        assert client.show("interrupt").experiment.state == "running"
    cancelled = sandbox(served, "cancel", "interrupt")
    assert re.fullmatch(r"experiment \d+ cancelled\n", cancelled.stdout)
    watched = sandbox(served, "watch", "interrupt", "--json")
    assert (watched.returncode, documents(watched.stdout)[-1]["state"]) == (1, "cancelled")
    assert sandbox(served, "cancel", "interrupt").returncode == 2


def test_workers_are_listed_and_stopped(served: Sandbox) -> None:
    sandbox(served, "run", "-q", write(served, "workers", one=[job("Loads", "load", model="small")]))
    (rows,) = documents(sandbox(served, "ps", "--json").stdout)
    keys = "worker pid component env state model rss_bytes runs idle_seconds keep_alive_seconds"
    assert all(" ".join(row) == keys for row in rows)
    worker = next(row for row in rows if row["state"] == "idle")
    assert worker["worker"] in sandbox(served, "ps").stdout
    (stopped,) = documents(sandbox(served, "stop", worker["worker"], "--json").stdout)
    assert stopped["pid"] == worker["pid"]
    assert not Path(f"/proc/{worker['pid']}").exists()
    assert worker["worker"] not in sandbox(served, "ps", "-q").stdout.split()


def test_a_closed_pipe_ends_the_command_without_an_error_message(served: Sandbox) -> None:
    sandbox(served, "run", "-q", write(served, "pipe", one=[job("Prints", "print", "TrainModelHook")]))
    with subprocess.Popen(
        [*COMMAND, "logs", "pipe"],
        cwd=served.cwd,
        env=environ_of(served),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as logs:
        assert logs.stdout is not None
        assert logs.stderr is not None
        assert logs.stdout.readline()
        logs.stdout.close()
        stderr = logs.stderr.read()
    assert logs.returncode == 141
    assert "Error" not in stderr
