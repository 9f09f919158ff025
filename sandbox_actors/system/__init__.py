"""The operating system: child processes and their trees, limits, the machine, paths."""
