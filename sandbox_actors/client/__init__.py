"""The daemon from Python: the client, its connection, and starting a daemon."""
