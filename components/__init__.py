"""What the actors run: executors, evaluators, data pool manipulators, and the ten factories that list them.

Importable on Python 3.10 and later with the standard library, msgspec and the ground of `sandbox_actors`: a component
imports the libraries that it needs inside the methods that use them.
"""
