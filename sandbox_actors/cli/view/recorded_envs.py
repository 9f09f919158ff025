"""The environments that an experiment ran in, as they were then."""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox_actors.protocol.rows import EnvRecord, EnvRow, ExperimentDetail
from sandbox_actors.protocol.secrets import mask_secrets, without_secrets


def document(row: EnvRow) -> dict[str, Any]:
    """For `--json`: all that was recorded, without secrets, which an earlier version may have recorded."""
    return {"digest": row.digest, "jobs": row.jobs, **mask_secrets(msgspec.to_builtins(row.record))}


def packages(record: EnvRecord) -> str:
    """The packages that the spec asks for with their versions, and how many others there were."""
    of_conda = (package.split("=") for package in record.conda)
    versions = {**{name: version for name, version, _ in of_conda}, **record.packages}
    shown = []
    for name in record.requested:
        origin = f" ({without_secrets(record.origins[name])})" if name in record.origins else ""
        shown.append(f"{name} {versions[name]}{origin}")
    others = len(versions) - len(shown)
    return ", ".join([*shown, f"{others} {'others' if shown else 'packages'}"] if others else shown)


def unrecorded(detail: ExperimentDetail) -> str:
    """Says of which jobs the environment is not known; empty if it is known of all that ran."""
    recorded = {job for row in detail.envs for job in row.jobs}
    ran = dict.fromkeys(f"{job.pipeline}.{job.meta_name}" for job in detail.jobs if job.worker)
    missing = [job for job in ran if job not in recorded]
    if not missing:
        return ""
    of = "this experiment" if not recorded else ", ".join(missing)
    return f"the environments of {of} were not recorded: an earlier version of the sandbox, which did not, ran it"
