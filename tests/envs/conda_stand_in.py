"""A program with the documented command line of `conda create` and `conda info` only.

It is put on the PATH as `conda`, `mamba` or `micromamba`. It accepts the options that the manuals of all three list,
refuses others, and creates an env with `conda-meta/` and a python. Its arguments are appended to the file `calls`
beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(sys.argv[0]).absolute().parent


def main() -> int:
    name = Path(sys.argv[0]).name
    with (HERE / "calls").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    parser = argparse.ArgumentParser(prog=name, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", allow_abbrev=False)
    info.add_argument("--json", action="store_true", required=True)
    create = commands.add_parser("create", allow_abbrev=False)
    create.add_argument("-y", "--yes", action="store_true", required=True)
    create.add_argument("-p", "--prefix", type=Path, required=True)
    create.add_argument("-c", "--channel", action="append", default=[])
    create.add_argument("--override-channels", action="store_true")
    create.add_argument("package_spec", nargs="*")
    options = parser.parse_args()
    if options.command == "info":
        root, folders = str(HERE / "root"), [str(HERE / "root" / "envs")]
        words = ("base environment", "envs directories") if name == "micromamba" else ("root_prefix", "envs_dirs")
        print(json.dumps({words[0]: root, words[1]: folders}))
        return 0
    if options.override_channels and not options.channel:
        parser.error("--override-channels requires --channel")
    if "no-such-package" in options.package_spec:
        print("PackagesNotFoundError: no-such-package", file=sys.stderr)
        return 1
    python = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([python, "-I", "-m", "venv", "--without-pip", str(options.prefix)], check=True)
    (options.prefix / "conda-meta").mkdir()
    return 0


if __name__ == "__main__":
    os.environ.pop("VIRTUAL_ENV", None)
    sys.exit(main())
