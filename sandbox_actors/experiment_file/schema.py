"""The keys of an experiment file: checks use these Structs, and the JSON Schema is generated from them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sandbox_actors.experiment.model import JOB_LISTS, Config, JobList, Name, Place, TargetsMode

LIST_KEYS: dict[JobList, str] = {list_name: list_name.removesuffix("s") + "_configs" for list_name in JOB_LISTS}
"""The keys of the job lists in a file: `probe_job_configs` for `probe_jobs`."""

ConfigPart = Annotated[
    Config,
    Meta(description="A mapping, the path of a YAML or JSON file, or a placeholder <...> that `input` replaces."),
]
Duration = Annotated[float | str | None, Meta(description="Seconds, or text such as 90s, 30m, 1h30m.")]
KeepAlive = Annotated[
    float | str | None,
    Meta(
        description="How long the job's actor stays warm without use: seconds, or 30m, 2h, or forever. 0: not at all."
    ),
]

Count = Annotated[int, Meta(ge=0)]


class FilePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of a file. A key without a value is the same as no key."""


class ResourcesPart(FilePart, frozen=True):
    cpus: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="CPU cores.")] = None
    gpus: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="GPUs.")] = None
    memory: Annotated[float | str | None, Meta(description="Bytes, or text such as 4GB, 512MiB.")] = None


class JobPart(FilePart, frozen=True):
    hook: Annotated[Name, Meta(description="What the job does, or a hook of your own as package.module:Class.")]
    meta_name: Annotated[Name | None, Meta(description="The name by which other jobs refer to the job's outputs.")] = (
        None
    )
    dj_configs: ConfigPart = None
    extra_configs: ConfigPart = None
    input: Annotated[
        dict[str, str] | None,
        Meta(description="<dj_configs|extra_configs>[.key...]: <pipeline>.<meta_name>.<output> or -1.<output>"),
    ] = None
    output: Annotated[
        Name | list[Name] | None, Meta(description="Names of the outputs. Default: res_0, res_1, ...")
    ] = None
    local: Annotated[
        dict[str, Any] | None, Meta(description="<dj_configs|extra_configs>[.key...]: value, set before use.")
    ] = None
    env: Annotated[
        Place | None, Meta(description="The env in which it runs: one of `envs`, or the name of a spec.")
    ] = None
    resources: ResourcesPart | None = None
    keep_alive: KeepAlive = None
    timeout: Duration = None
    retries: Annotated[Count | None, Meta(description="How often it is tried again after a failure.")] = None
    component_path: Annotated[Place | None, Meta(description="A folder put on the actor's sys.path.")] = None


JobEntries = Annotated[
    list[JobPart | str] | None, Meta(description="Jobs, or paths of files with one job each, in order.")
]


class PipelinePart(FilePart, frozen=True):
    probe_job_configs: JobEntries = None
    refine_recipe_job_configs: JobEntries = None
    execution_job_configs: JobEntries = None
    evaluation_job_configs: JobEntries = None


class ExperimentPart(PipelinePart, frozen=True):
    """An experiment: either `pipelines`, or the four job lists, which are then one pipeline called `anonymous`."""

    project_name: Name | None = None
    experiment_name: Name | None = None
    work_dir: Annotated[Place | None, Meta(description="The folder of exports, logs and context_infos.json.")] = None
    resume: Annotated[
        bool | None, Meta(description="Reuse what the newest run in this work_dir has completed already.")
    ] = None
    debug: bool | None = None
    hpo_config: Annotated[dict[str, Any] | str | None, Meta(description="A sweep, or the path of its file.")] = None
    max_iter_num: Annotated[Count | None, Meta(description="0: until `iter_targets` hold.")] = None
    iter_targets: Annotated[
        list[str] | str | None, Meta(description="<pipeline>.<meta_name>.<output> <op> <number>; op: == >= <= > <")
    ] = None
    iter_targets_mode: TargetsMode | None = None
    iter_updater: Annotated[
        dict[str, str] | None,
        Meta(description="<pipeline>.<meta_name>.<output>: <pipeline>.<meta_name>.<dj_configs|extra_configs>.<key...>"),
    ] = None
    envs: Annotated[
        dict[str, dict[str, Any] | str | None] | None, Meta(description="Specs of envs, or their paths, by name.")
    ] = None
    parallel: Annotated[bool | None, Meta(description="Run pipelines at the same time unless one needs the other.")] = (
        None
    )
    pipelines: list[dict[str, PipelinePart | None]] | dict[str, PipelinePart | None] | None = None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of an experiment file, for editors.

    `docs/experiment.schema.json` is what `python -m sandbox_actors.experiment_file.schema` prints.
    """
    schema = msgspec.json.schema(ExperimentPart)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Experiment", **schema}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
