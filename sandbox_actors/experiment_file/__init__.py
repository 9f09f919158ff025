"""Experiment files: read, checked, with overrides applied, and made into experiments."""
