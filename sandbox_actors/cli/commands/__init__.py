"""The commands of `sandbox`, a file for each group."""
