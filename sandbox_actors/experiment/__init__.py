"""The experiment as a model, and what follows from it alone: the plan, references, targets, `context_infos`.

Pure: nothing here does I/O or knows the time.
"""
