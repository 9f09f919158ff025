"""The language of experiment files: read, checked, and made into an `Experiment`; all without running anything."""
