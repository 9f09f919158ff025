"""The folder that everything of one user lies below: state, logs, environments."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sandbox_actors.errors import ConfigError, Refused
from sandbox_actors.files import user_path

HOME_VARIABLE = "SANDBOX_HOME"

APP = "sandbox-actors"


def sandbox_home(environ: Mapping[str, str] = os.environ) -> Path:
    """`SANDBOX_HOME`, else `sandbox-actors` in the XDG state folder, which has to be absolute to count.

    Raises Refused where neither is known, because this user has no home folder.
    """
    if given := environ.get(HOME_VARIABLE):
        return expanded(given, HOME_VARIABLE)
    state = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(state):
        return Path(state) / APP
    return _user_home() / ".local" / "state" / APP


def expanded(path: str, variable: str) -> Path:
    """The absolute form of a path that an environment variable gives, with `~` replaced. Raises Refused where the
    folder that `~` stands for is not known, or the current one does not exist."""
    try:
        return user_path(path).absolute()
    except ConfigError as error:
        raise Refused(f"{variable}={error}") from None
    except FileNotFoundError:
        raise Refused(f"{variable}={path}: the current folder was removed; give an absolute path") from None


def _user_home() -> Path:
    """From HOME, else from the list of users. Raises Refused where neither has an absolute path."""
    home = os.environ.get("HOME")
    if not home:
        with suppress(KeyError):
            home = pwd.getpwuid(os.getuid()).pw_dir
    if not home or not os.path.isabs(home):
        raise Refused(
            f"this user (uid {os.getuid()}) has no home folder: neither HOME nor the list of users has an absolute "
            f"path; set {HOME_VARIABLE} to the folder in which state, logs and envs belong"
        )
    return Path(home)
