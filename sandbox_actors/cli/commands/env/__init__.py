"""`sandbox env`: these commands work on the folder of environments itself, safely beside a daemon and without one."""
