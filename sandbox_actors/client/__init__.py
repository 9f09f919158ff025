"""The Python client: its connection to the daemon, and starting a daemon."""
