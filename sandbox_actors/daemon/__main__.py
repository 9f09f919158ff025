"""`python -m sandbox_actors.daemon` is `sandbox-daemon`."""

import os
import sys

if (
    sys.flags.ignore_environment
):  # as clients start it: modules of the user's PYTHONPATH are found, and replace no others
    sys.path += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))

from sandbox_actors.daemon.main import main

if __name__ == "__main__":
    sys.exit(main())
