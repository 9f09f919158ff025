"""The resources of the machine that jobs may request."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """`memory` in bytes; `gpus` are the names of devices, as CUDA_VISIBLE_DEVICES takes them."""

    cpus: int
    memory: int
    gpus: tuple[str, ...] = ()


def this_machine() -> Machine:
    """The cpus that this process may use, all memory, and NVIDIA's devices."""
    found = (re.fullmatch(r"nvidia(\d+)", name) for name in os.listdir("/dev"))
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        gpus=tuple(sorted((match[1] for match in found if match), key=int)),
    )
