"""The experiment as a model, and what follows from it alone: the plan, references, targets, `context_infos`."""
