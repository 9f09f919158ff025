"""The folder that everything of one user lies below: state, logs, environments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

HOME_VARIABLE = "SANDBOX_HOME"

APP = "sandbox-actors"


def sandbox_home(environ: Mapping[str, str] = os.environ) -> Path:
    """`SANDBOX_HOME`, else `sandbox-actors` in the XDG state folder, which has to be absolute to count."""
    if given := environ.get(HOME_VARIABLE):
        return Path(given).expanduser().absolute()
    state = environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / APP
