"""Errors, outputs and names of any length: every command still answers, and the whole is where it says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sandbox_actors.errors import ConfigError
from sandbox_actors.protocol.texts import LONGEST

from .commands import documents, job, sandbox, write
from .conftest import Sandbox


def test_errors_of_a_megabyte_are_shown_in_part_and_are_in_the_log_as_a_whole(served: Sandbox) -> None:
    file = write(served, "long", one=[job("Fails", "fail", how="at length")])
    for _ in range(5):
        done = sandbox(served, "run", file)
        assert done.returncode == 1
        assert len(done.stderr) < LONGEST + 2_000
        assert re.search(
            r"ValueError: begins x+\n\[[\d,]+ characters are left out here; the log has all of it\]\nx+ ends",
            done.stderr,
        )
        assert re.search(r"^  File .*, in run$", done.stderr, re.M), "the traceback says where"
    (listed,) = documents(sandbox(served, "ls", "--json").stdout)
    assert len(listed) == 5
    assert all(row["error"].startswith("one.fail: ValueError: begins") and len(row["error"]) <= 200 for row in listed)
    for command in ("ls", "show", "watch", "show --json", "watch --json", "ps", "metrics"):
        assert sandbox(served, *command.split()).returncode in (0, 1), command
    log = sandbox(served, "logs", "long", "fail").stdout
    assert log.count("x") > 1_000_000


def test_outputs_that_fit_into_no_answer_together_are_all_shown(served: Sandbox) -> None:
    jobs = [job("ReturnsLarge", f"give{count}", size=1_000_000) for count in range(10)]
    done = sandbox(served, "run", "--json", write(served, "large", one=jobs))
    assert done.returncode == 0, done.stderr
    entries = documents(done.stdout)[-1]["context_infos"]["one"]
    assert [(entry["meta_name"], len(entry["res_0"])) for entry in entries] == [
        (f"give{count}", 1_000_000) for count in range(10)
    ]
    (shown,) = documents(sandbox(served, "show", "--json").stdout)
    assert shown["iterations"][0]["context_infos"]["one"] == entries
    assert len(shown["jobs"]) == 10
    assert sandbox(served, "show").returncode == 0


@pytest.mark.parametrize("changed", [{"env": "\x01" * 2_200_000}, {"meta_name": "\x01" * 2_200_000}])
def test_a_definition_whose_refusal_would_be_too_long_harms_nobody(served: Sandbox, changed: dict[str, Any]) -> None:
    definition = served.definition({"type": "Returns", "value": 1})
    definition["experiment"]["pipelines"][0]["execution_jobs"][0].update(changed)
    with served.client() as client:
        pid = client.status().pid
        for ask in (client.forecast, client.submit_definition):
            with pytest.raises(ConfigError, match="length <= ") as refused:
                ask(definition)
            assert len(str(refused.value)) < LONGEST
        assert client.status().pid == pid
