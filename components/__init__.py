"""What the actors run: executors, evaluators, data pool manipulators, and the ten factories that know them.

Importable on Python 3.10 and later with the standard library and `sandbox_actors.errors` alone: every component
imports the libraries it needs inside the methods that use them.
"""
