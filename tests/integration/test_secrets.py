"""Secrets stay where they are, and what could move a terminal does not reach one."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from sandbox_actors.errors import Refused
from sandbox_actors.experiment_file.load import load_experiment
from sandbox_actors.hooks.catalogue import load_catalogue

from .commands import job, sandbox, write
from .conftest import Sandbox
from .test_cli_terminal import Terminal

CANARY = "sk-canary0123456789abcdef"


def places_of(canary: str, *folders: Path) -> list[Path]:
    """The files below `folders` in which it stands."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if canary.encode() in path.read_bytes()]


@pytest.fixture
def entrusted(unserved: Sandbox) -> Sandbox:
    """A daemon that has keys in its environment, and clients that have too."""
    unserved.environ |= {"WANDB_API_KEY": CANARY, "OPENAI_API_KEY": CANARY, "WANDB_HTTP_HEADERS": f"key={CANARY}"}
    unserved.start()
    return unserved


def test_keys_in_the_environment_are_found_in_no_file_and_no_list_of_processes(entrusted: Sandbox) -> None:
    file = write(entrusted, "canary", main=[job("Environ", "one", names=["PATH"]), job("Fails", "two", how="raise")])
    assert sandbox(entrusted, "run", file).returncode == 1
    lines = [word for process in entrusted.processes() for word in process.cmdline()]
    daemon = psutil.Process(entrusted.daemon.pid) if entrusted.daemon else psutil.Process()
    lines += [word for process in [daemon, *daemon.children(recursive=True)] for word in process.cmdline()]
    assert len(lines) > 10
    assert not [word for word in lines if CANARY in word]
    seen = entrusted.home / "seen"
    seen.write_text(CANARY)  # the search itself works
    assert places_of(CANARY, entrusted.home, entrusted.cwd) == [seen]
    for arguments in (("show", "--json"), ("metrics", "--json"), ("logs",), ("ps", "--json")):
        assert CANARY not in sandbox(entrusted, *arguments).stdout
    entrusted.stop()


def test_a_secret_in_a_file_is_refused_before_it_is_written_anywhere(entrusted: Sandbox) -> None:
    secret = "not-known-by-its-looks-0815"
    file = write(entrusted, "secret", main=[job("Returns", "one", value=7, service={"api_key": secret})])
    told = sandbox(entrusted, "submit", file)
    assert told.returncode == 2
    assert "service.api_key: everyone who reads the file sees a secret in it" in told.stderr
    assert secret not in told.stderr
    definition = entrusted.definition({"type": "Returns", "meta_name": "one", "value": 7, "api_key": secret})
    with (
        entrusted.client() as client,
        pytest.raises(Refused, match=r"extra_configs\.api_key: everyone who reads the file"),
    ):
        client.submit_definition(definition)
    assert load_experiment(str(entrusted.cwd / file), [], load_catalogue()).experiment is None
    assert places_of(secret, entrusted.home) == []
    entrusted.stop()


EVIL = "\x1b]0;OWNED\x07\x1b[6n\x1bP+q\x1b\\\x9b31m\x08\x08\u202e"
"""Sets the title, asks the terminal to type its position, a device control string, eight-bit CSI, and reversed text."""


def test_nothing_that_a_component_or_a_name_says_moves_a_terminal(served: Sandbox) -> None:
    shouting = [
        {"type": "Shouts", "hook": "TrainModelHook", "meta_name": f"m{number}{EVIL}", "text": EVIL, "fails": number}
        for number in (0, 1)
    ]
    names = {"experiment_name": f"name{EVIL}", "project_name": f"project{EVIL}"}
    with served.client() as client:
        id = client.submit_definition(served.definition(*shouting, **names), f"source{EVIL}")
        served.wait(client, id)
        stored = json.dumps([row.name for row in client.metrics(id)])
        assert "OWNED" in stored
    for arguments in (
        ("watch", id), ("ls",), ("show", id), ("logs", id), ("logs", id, f"m0{EVIL}"), ("metrics", id),
        ("metrics", id, f"series {EVIL}"), ("ps",), ("show", f"no such {EVIL}"), ("logs", id, f"nobody {EVIL}"),
        ("stop", f"nobody {EVIL}"), ("env", "show", f"nobody {EVIL}"), ("submit", f"no file {EVIL}"),
        ("cancel", id), ("show", "--json", id), ("metrics", "--json", id), ("watch", "--json", id),
    ):  # fmt: skip
        terminal = Terminal(served, *arguments, COLUMNS="200")
        terminal.end()
        for sequence in ("\x1b]", "\x07", "\x1b[6n", "\x1bP", "\x9b", "\x08", "\u202e"):
            assert sequence not in terminal.screen, (arguments, terminal.screen)
