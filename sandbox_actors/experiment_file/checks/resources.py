"""Checks of the resources that jobs ask for, against those of the machine."""

from __future__ import annotations

from sandbox_actors.experiment.model import Resources
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.key_path import KeyPath
from sandbox_actors.system.machine import Machine

GIB = 1024**3


def check_resources(draft: Draft, machine: Machine | None, resources: Resources, job_path: KeyPath) -> None:
    if machine is None:
        return
    if shortage := describe_gpu_shortage(resources, machine):
        draft.error((*job_path, "resources", "gpus"), shortage)
    if resources.cpus is not None and resources.cpus > machine.cpus:
        message = f"asks for {resources.cpus:g} cpus and gets the {machine.cpus} that this machine has"
        draft.warn((*job_path, "resources", "cpus"), message)
    if resources.memory is not None and resources.memory > machine.memory:
        has = f"{machine.memory / GIB:.1f} GiB"
        message = f"allows {resources.memory / GIB:.1f} GiB, and this machine has {has}: the limit cannot be reached"
        draft.warn((*job_path, "resources", "memory"), message)


def describe_gpu_shortage(resources: Resources, machine: Machine) -> str:
    """The error if a job asks for more GPUs than there are; empty if it does not."""
    wanted, available = resources.gpus or 0, len(machine.gpus)
    return f"asks for {wanted:g} gpus, and this machine has {available or 'none'}" if wanted > available else ""
