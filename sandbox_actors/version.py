"""The version of this project, which peers of each other compare."""

__version__ = "0.1.0"
