"""`python3 -m sandbox_actors ...` is the `sandbox` command, and in a fresh clone installs first what it needs."""

from __future__ import annotations

import os
import sys

from sandbox_actors.bootstrap import is_installed, prepare


def main() -> int:
    if not is_installed():
        python = str(prepare())
        os.execv(python, [python, "-m", "sandbox_actors", *sys.argv[1:]])
    from sandbox_actors.cli import main as sandbox

    return sandbox()


if __name__ == "__main__":
    sys.exit(main())
