"""Commands in odd surroundings: no current folder, no output, no UTF-8, few files. None ends in a traceback, and the
exit status tells an experiment that failed from one whose outcome could not be printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox_actors.client.connection import listener

from .commands import COMMAND, LIMIT, documents, environ_of, job, sandbox, write
from .conftest import Sandbox


def shell(place: Sandbox, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash, in which "$@" is the `sandbox` command."""
    return subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND],
        cwd=place.cwd,
        env={**environ_of(place), **environ},
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=LIMIT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def place(served: Sandbox) -> Sandbox:
    """A daemon that has run an experiment, and files of one that succeeds and one that fails."""
    assert sandbox(served, "run", write(served, "good", one=[job("Returns", "give", value=1)])).returncode == 0
    write(served, "bad", one=[job("Fails", "fail", how="raise")])
    return served


NOT_WRITTEN = "could not be written: No space left on device"

CASES = [
    # --- the current folder
    ('mkdir d && cd d && rmdir ../d && "$@" run ../good.json', 2, "the current folder cannot be used.*`cd` to one"),
    ('mkdir d && cd d && rmdir ../d && "$@" run --dry-run ../good.json', 2, "the current folder cannot be used"),
    ('mkdir d && cd d && rmdir ../d && "$@" ls', 0, ""),
    ('mkdir d && cd d && rmdir ../d && SANDBOX_HOME=relative "$@" ls', 2, "current folder (has been|was) removed"),
    ('f=$PWD/good.json; cd /proc && "$@" submit $f', 2, r"work_dir /proc/out/good cannot be written.*--set work_dir="),
    ('"$@" run good.json --set work_dir=/dev/null/x', 2, "work_dir /dev/null/x cannot be written: Not a directory"),
    ("f=$PWD/good.json; mkdir -p $'c\\xff' && cd $'c\\xff' && \"$@\" run $f", 2, r"folder is not UTF-8: .*/c\\xff;"),
    # --- output that cannot be written
    ('"$@" run good.json >/dev/full', 4, f"the command has succeeded, but its output {NOT_WRITTEN}"),
    ('"$@" run --json good.json >/dev/full', 4, NOT_WRITTEN),
    ('"$@" run -q good.json >/dev/full', 4, NOT_WRITTEN),
    ('"$@" run bad.json >/dev/full', 1, f"the data are wrong(.|\n)*the output {NOT_WRITTEN}"),
    ('"$@" ls >/dev/full', 4, NOT_WRITTEN),
    ('"$@" logs good >/dev/full', 0, "the log is empty"),
    ('"$@" --help >/dev/full', 2, "No space left on device"),
    ('"$@" check good.json >/dev/full', 4, NOT_WRITTEN),
    ('"$@" check nowhere.json >/dev/full', 2, NOT_WRITTEN),
    ('"$@" ls 1</dev/null', 4, "could not be written: Bad file descriptor"),
    ('"$@" run good.json >&-', 0, "succeeded"),
    ('"$@" run bad.json >&-', 1, "the data are wrong"),
    ('"$@" run good.json 2>/dev/full', 0, ""),
    ('"$@" run good.json 2>&-', 0, ""),
    ('"$@" run nowhere.json 2>/dev/full', 2, ""),
    ('x=$("$@" run nowhere.json 2>&-); s=$?; [ -z "$x" ] && exit $s', 2, ""),  # nothing of it in stdout
    ('"$@" unknown 2>/dev/full', 2, ""),
    ('"$@" run good.json <&- >&- 2>&-', 0, ""),
    ('"$@" run --json good.json | head -1; exit ${PIPESTATUS[0]}', 141, ""),
    ('"$@" run good.json 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}', 0, ""),
    # --- text
    ("\"$@\" run $'b\\xffd.json'", 2, r"the argument b\\xffd.json is not UTF-8"),
    ("\"$@\" check --json $'b\\xffd.json'", 2, "is not UTF-8"),
    ("\"$@\" show $'b\\xffd'", 2, "is not UTF-8"),
    ("\"$@\" run good.json --set one.give.extra_configs.value=$'\\xff'", 2, "is not UTF-8"),
    ("SANDBOX_HOME=$PWD/$'h\\xff' \"$@\" ls; s=$?; [ ! -e $'h\\xff' ] && exit $s", 2, r"h\\xff: the path is not UTF-8"),
    ("SANDBOX_SOCKET=$PWD/$'h\\xff' \"$@\" ls", 2, r"h\\xff: the path is not UTF-8"),
    ('LC_ALL=C "$@" run good.json --set experiment_name=näme', 0, "experiment .* .näme."),
    ('LC_ALL=POSIX PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 "$@" show näme', 2, "not UTF-8, as far as the locale .ascii."),
    ('PYTHONIOENCODING=ascii "$@" run good.json --set experiment_name=näme', 0, "experiment .* .n.me."),
    # --- numbers and sizes
    ('TERM= COLUMNS=1 "$@" ls && COLUMNS=0 "$@" show && COLUMNS=junk "$@" ls && COLUMNS=-5 "$@" run --help', 0, ""),
    ('"$@" ls -n 99999999999999999999999', 2, "invalid count value"),
    ('"$@" ls -n -1', 2, "invalid count value"),
    # --- limits
    ('ulimit -n 6; "$@" ls', 2, r"Too many open files; raise the limit .`ulimit -n`"),
    ('ulimit -n 20; "$@" ls', 0, ""),
    ('ulimit -v 45000; "$@" ls', 2, "`ulimit -v`"),
    ('umask 777; "$@" ls', 0, ""),
    ('PYTHONWARNINGS=error "$@" run good.json', 0, ""),
]


@pytest.mark.parametrize(("script", "status", "stderr"), CASES, ids=[case[0] for case in CASES])
def test_a_command_in_odd_surroundings(place: Sandbox, script: str, status: int, stderr: str) -> None:
    done = shell(place, script)
    assert done.returncode == status, done.stderr
    assert re.search(stderr, done.stderr), done.stderr
    assert "bug of sandbox" not in done.stderr
    if "bad.json" not in script:
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) < 8, "a sentence"


STARTING = [
    'umask 77; ulimit -n 64; PYTHONIOENCODING=utf-16 LC_ALL=C "$@" run -q good.json <&- >&- 2>&-',
    'PYTHONPATH=$PWD/junk:$PYTHONPATH PYTHONSAFEPATH=1 PYTHONWARNINGS=error PYTHONOPTIMIZE=2 "$@" run -q good.json',
]


@pytest.mark.parametrize("script", STARTING)
def test_a_daemon_is_started_from_odd_surroundings_and_serves(unserved: Sandbox, script: str) -> None:
    write(unserved, "good", one=[job("Returns", "give", value=1)])
    (unserved.cwd / "junk").mkdir()
    (unserved.cwd / "junk" / "trio.py").write_text("raise SystemExit(9)")  # as in a project of the user's
    started = shell(unserved, script)
    assert started.returncode == 0, started.stderr
    (status,) = documents(sandbox(unserved, "daemon", "status", "--json").stdout)
    kept = [os.readlink(f"/proc/{status['pid']}/fd/{number}") for number in (0, 1, 2)]
    assert kept == [os.devnull, str(unserved.paths.daemon_log), str(unserved.paths.daemon_log)]
    assert sandbox(unserved, "run", "good.json").returncode == 0


def test_a_daemon_without_standard_files_opens_no_socket_and_no_store_in_their_place(unserved: Sandbox) -> None:
    command = [sys.executable, "-m", "sandbox_actors.daemon"]
    script = 'exec "$@" <&- >&- 2>&-'
    with subprocess.Popen(
        ["bash", "-c", script, "bash", *command], env=environ_of(unserved), cwd=unserved.cwd
    ) as daemon:
        while listener(unserved.paths.socket) is None:
            assert daemon.poll() is None
        assert [os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in (0, 1, 2)] == [os.devnull] * 3
        assert sandbox(unserved, "run", write(unserved, "good", one=[job("Returns", "give", value=1)])).returncode == 0
        daemon.terminate()
    assert daemon.returncode == 0


def test_a_daemon_that_may_write_no_file_says_what_to_look_at(unserved: Sandbox) -> None:
    done = shell(unserved, 'ulimit -f 0; "$@" ls')
    assert done.returncode == 3
    assert "wrote nothing to" in done.stderr
    assert "`ulimit`" in done.stderr


def test_an_experiment_is_followed_to_its_end_although_its_output_is_lost(place: Sandbox) -> None:
    before = len(json.loads(sandbox(place, "ls", "--json").stdout))
    assert shell(place, '"$@" run --json good.json >/dev/full').returncode == 4
    rows = json.loads(sandbox(place, "ls", "--json").stdout)
    assert len(rows) == before + 1
    assert rows[0]["state"] == "succeeded"
    assert Path(rows[0]["work_dir"]).is_dir()
