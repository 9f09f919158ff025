"""The commands of `sandbox`: one or two in a file, listed in `cli/parser.py`."""
