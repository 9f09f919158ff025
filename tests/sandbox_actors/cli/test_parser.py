"""The table of commands: each of them exists, is documented, and is imported only when it is called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sandbox_actors.cli.parser import COMMANDS, make_parser


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args([*name.split(), "--help"])
    assert ended.value.code == 0
    assert f"usage: sandbox {name} " in capsys.readouterr().out


@pytest.mark.real
def test_a_command_is_imported_when_it_is_called() -> None:
    code = (
        "import sys; from sandbox_actors.cli.parser import make_parser; parser = make_parser(); parser.format_help(); "
        "names = lambda: {name for name in sys.modules if name.startswith('sandbox_actors.cli.commands.')}; "
        "assert names() == set() and not {'zmq', 'rich', 'trio'} & set(sys.modules); parser.parse_args(['cancel']); "
        "assert names() == {'sandbox_actors.cli.commands.cancel'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
