"""`python -m sandbox_actors.daemon` is `sandbox-daemon`."""

import sys

from sandbox_actors.daemon.main import main

if __name__ == "__main__":
    sys.exit(main())
