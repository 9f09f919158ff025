"""Checks of what jobs ask of the machine."""

from __future__ import annotations

from sandbox_actors.experiment.model import Resources
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.reader import Path
from sandbox_actors.system.machine import Machine

GIB = 1024**3


def check_resources(draft: Draft, machine: Machine | None, resources: Resources, place: Path) -> None:
    if machine is None:
        return
    if too_many := gpus_missing(resources, machine):
        draft.error((*place, "resources", "gpus"), too_many)
    if resources.cpus is not None and resources.cpus > machine.cpus:
        message = f"asks for {resources.cpus:g} cpus and gets the {machine.cpus} that this machine has"
        draft.warn((*place, "resources", "cpus"), message)
    if resources.memory is not None and resources.memory > machine.memory:
        has = f"{machine.memory / GIB:.1f} GiB"
        message = f"allows {resources.memory / GIB:.1f} GiB, and this machine has {has}: the limit cannot be reached"
        draft.warn((*place, "resources", "memory"), message)


def gpus_missing(resources: Resources, machine: Machine) -> str:
    """What to say where a job asks for more GPUs than there are; empty where it does not."""
    wanted, has = resources.gpus or 0, len(machine.gpus)
    return f"asks for {wanted:g} gpus, and this machine has {has or 'none'}" if wanted > has else ""
