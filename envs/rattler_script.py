"""Create a conda env with py-rattler: `python rattler_script.py '{"prefix": ..., "channels": [...], "specs": [...]}'`.

Run as a script in an env that contains only py-rattler: the library is large, and a crash at its exit does no harm in a
process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any


async def make(prefix: str, channels: list[str], specs: list[str]) -> None:
    import rattler

    print(f"solving {', '.join(specs)} from {', '.join(channels)}", flush=True)
    virtual: Any = rattler.VirtualPackage.detect()
    wanted = [rattler.MatchSpec(spec, strict=False) for spec in specs]  # accepts all forms that conda does
    records = await rattler.solve(channels, wanted, virtual_packages=virtual)
    size = sum(record.size or 0 for record in records)
    print(f"installing {len(records)} packages, {size / 1e6:.1f} MB", flush=True)
    await rattler.install(records, prefix, show_progress=False)


def main() -> int:
    try:
        asyncio.run(make(**json.loads(sys.argv[1])))
    except Exception as error:  # any error of the library is this command's failure, reported in its last line
        print(f"{type(error).__name__}: {error}", flush=True)
        return 1
    print("installed", flush=True)
    return 0


if __name__ == "__main__":
    os._exit(main())
