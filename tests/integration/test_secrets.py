"""Secrets are not written anywhere, and control sequences do not reach a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from sandbox_actors.errors import Refused
from sandbox_actors.experiment_file.load import load_experiment
from sandbox_actors.hooks.catalogue import load_catalogue
from sandbox_actors.protocol.client_requests import Submit

from .commands import job, sandbox, write
from .conftest import Sandbox
from .test_cli_terminal import Terminal

CANARY = "sk-canary0123456789abcdef"


def files_with(canary: str, *folders: Path) -> list[Path]:
    """The files below `folders` that contain it."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if canary.encode() in path.read_bytes()]


@pytest.fixture
def keyed(unserved: Sandbox) -> Sandbox:
    """A daemon and clients with keys in their environment."""
    unserved.environ |= {"WANDB_API_KEY": CANARY, "OPENAI_API_KEY": CANARY, "WANDB_HTTP_HEADERS": f"key={CANARY}"}
    unserved.start()
    return unserved


def test_keys_in_the_environment_are_in_no_file_and_no_command_line(keyed: Sandbox) -> None:
    file = write(keyed, "canary", main=[job("Environ", "one", names=["PATH"]), job("Fails", "two", how="raise")])
    assert sandbox(keyed, "run", file).returncode == 1
    lines = [word for process in keyed.processes() for word in process.cmdline()]
    daemon = psutil.Process(keyed.daemon.pid) if keyed.daemon else psutil.Process()
    lines += [word for process in [daemon, *daemon.children(recursive=True)] for word in process.cmdline()]
    assert len(lines) > 10
    assert not [word for word in lines if CANARY in word]
    seen = keyed.home / "seen"
    seen.write_text(CANARY)  # proves that the search works
    assert files_with(CANARY, keyed.home, keyed.cwd) == [seen]
    for arguments in (("show", "--json"), ("metrics", "--json"), ("logs",), ("ps", "--json")):
        assert CANARY not in sandbox(keyed, *arguments).stdout
    keyed.stop()


def test_a_secret_in_an_experiment_file_is_refused_and_not_stored(keyed: Sandbox) -> None:
    secret = "without-a-known-prefix-0815"
    file = write(keyed, "secret", main=[job("Returns", "one", value=7, service={"api_key": secret})])
    refused = sandbox(keyed, "submit", file)
    assert refused.returncode == 2
    assert "service.api_key: everyone who reads the file sees a secret in it" in refused.stderr
    assert secret not in refused.stderr
    definition = keyed.definition({"type": "Returns", "meta_name": "one", "value": 7, "api_key": secret})
    with keyed.client() as client, pytest.raises(Refused, match=r"extra_configs\.api_key: everyone who reads the file"):
        client.submit_definition(definition)
    assert load_experiment(str(keyed.cwd / file), [], load_catalogue()).experiment is None
    assert files_with(secret, keyed.home) == []
    keyed.stop()


def test_credentials_of_a_url_are_refused_by_client_and_daemon_and_neither_stored_nor_shown(keyed: Sandbox) -> None:
    url = "https://me:hunter2-canary@127.0.0.1:9/simple"
    (keyed.cwd / "spec.yaml").write_text(f"deps: [pkg]\nextra_index: {url}\n")
    (keyed.cwd / "requirements.txt").write_text(f"--index-url {url}\npkg\n")
    for arguments in (
        ("submit", write(keyed, "one", main=[job("Returns", "one", value=7, model=url)])),
        ("check", write(keyed, "two", main=[{**job("Returns", "one", value=7), "env": url}])),
        ("submit", write(keyed, "three", main=[job("Returns", "one", value=7)]), "--set", f"work_dir={url}"),
        ("env", "create", "spec.yaml"),
    ):  # fmt: skip
        refused = sandbox(keyed, *arguments)
        assert (refused.returncode, "sees a secret in it" in refused.stdout + refused.stderr) == (2, True)
        assert "hunter2" not in refused.stdout + refused.stderr
    definition = keyed.definition({"type": "Returns", "meta_name": "one", "value": 7}, envs={"e": {"deps": [url]}})
    with keyed.client() as client:
        with pytest.raises(Refused, match="everyone who reads the file"):
            client.submit_definition(definition)
        with pytest.raises(Refused, match="everyone who reads the file"):  # of another client, which does not look
            client._connection.ask(Submit(definition=definition, source="", cwd="/"))
        assert client.experiments() == []
        spec = {"deps": [], "requirements": [str(keyed.cwd / "requirements.txt")]}
        definition = keyed.definition({"type": "Returns", "meta_name": "one"}, envs={"e": spec})
        definition["experiment"]["pipelines"][0]["execution_jobs"][0]["env"] = "e"
        id = client.submit_definition(definition)
        assert "requirements.txt, line 1: everyone" in keyed.wait(client, id).jobs[0].error
    assert files_with("hunter2-canary", keyed.home) == []
    keyed.stop()


EVIL = "\x1b]0;OWNED\x07\x1b[6n\x1bP+q\x1b\\\x9b31m\x08\x08\u202e"
"""Sets the title, requests the cursor position, a device control string, eight-bit CSI, backspaces, reversed text."""


def test_control_sequences_in_names_logs_and_metrics_do_not_reach_the_terminal(served: Sandbox) -> None:
    jobs = [
        {
            "type": "PrintsEverywhere",
            "hook": "TrainModelHook",
            "meta_name": f"m{number}{EVIL}",
            "text": EVIL,
            "fails": number,
        }
        for number in (0, 1)
    ]
    names = {"experiment_name": f"name{EVIL}", "project_name": f"project{EVIL}"}
    with served.client() as client:
        id = client.submit_definition(served.definition(*jobs, **names), f"source{EVIL}")
        served.wait(client, id)
        stored = json.dumps([row.name for row in client.metrics(id)])
        assert "OWNED" in stored
    for arguments in (
        ("watch", id), ("ls",), ("show", id), ("logs", id), ("logs", id, f"m0{EVIL}"), ("metrics", id),
        ("metrics", id, f"series {EVIL}"), ("ps",), ("show", f"no such {EVIL}"), ("logs", id, f"unknown {EVIL}"),
        ("stop", f"unknown {EVIL}"), ("env", "show", f"unknown {EVIL}"), ("submit", f"no file {EVIL}"),
        ("cancel", id), ("show", "--json", id), ("metrics", "--json", id), ("watch", "--json", id),
    ):  # fmt: skip
        terminal = Terminal(served, *arguments, COLUMNS="200")
        terminal.end()
        for sequence in ("\x1b]", "\x07", "\x1b[6n", "\x1bP", "\x9b", "\x08", "\u202e"):
            assert sequence not in terminal.screen, (arguments, terminal.screen)
