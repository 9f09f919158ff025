"""What an experiment file may hold, key by key: checks walk these Structs, and the JSON Schema is made from them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sandbox_actors.experiment.hook_specs import JOB_LISTS

FILE_LISTS = {list_name: list_name.removesuffix("s") + "_configs" for list_name in JOB_LISTS}
"""How a file calls the job lists: `probe_jobs` is `probe_job_configs`."""

JobConfig = Annotated[
    dict[str, Any] | str | None,
    Meta(description="A mapping, the path of a YAML or JSON file, or a placeholder <...> that `input` replaces."),
]
Duration = Annotated[float | str | None, Meta(description="Seconds, or text such as 90s, 30m, 1h30m.")]
KeepAlive = Annotated[
    float | str | None,
    Meta(description="How long the job's actor stays warm unused: seconds, or 30m, 2h, or forever. 0: not at all."),
]

Count = Annotated[int, Meta(ge=0)]


class FilePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of a file. A key that is there without a value is as good as not there."""


class ResourcesPart(FilePart, frozen=True):
    cpus: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="CPU cores.")] = None
    gpus: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="GPUs.")] = None
    memory: Annotated[float | str | None, Meta(description="Bytes, or text such as 4GB, 512MiB.")] = None


class JobPart(FilePart, frozen=True):
    hook: Annotated[str, Meta(description="What the job does, or a hook of your own as package.module:Class.")]
    meta_name: Annotated[str | None, Meta(description="The name others find the job's outputs by.")] = None
    dj_configs: JobConfig = None
    extra_configs: JobConfig = None
    input: Annotated[
        dict[str, str] | None,
        Meta(description="<dj_configs|extra_configs>[.key...]: <pipeline>.<meta_name>.<output> or -1.<output>"),
    ] = None
    output: Annotated[str | list[str] | None, Meta(description="Names of the outputs; res_0, res_1, ... without.")] = (
        None
    )
    local: Annotated[
        dict[str, Any] | None, Meta(description="<dj_configs|extra_configs>[.key...]: value, set before use.")
    ] = None
    env: Annotated[str | None, Meta(description="The env it runs in: one of `envs`, or the name of a spec.")] = None
    resources: ResourcesPart | None = None
    keep_alive: KeepAlive = None
    timeout: Duration = None
    retries: Annotated[Count | None, Meta(description="How often it is tried again when it fails.")] = None
    component_path: Annotated[str | None, Meta(description="A folder put on the actor's sys.path.")] = None


JobEntries = Annotated[
    list[JobPart | str] | None, Meta(description="Jobs, or paths of files with one job each, in order.")
]


class PipelinePart(FilePart, frozen=True):
    probe_job_configs: JobEntries = None
    refine_recipe_job_configs: JobEntries = None
    execution_job_configs: JobEntries = None
    evaluation_job_configs: JobEntries = None


class ExperimentPart(PipelinePart, frozen=True):
    """An experiment: either `pipelines`, or the four job lists, which then are one pipeline called `anonymous`."""

    project_name: str | None = None
    experiment_name: str | None = None
    work_dir: Annotated[str | None, Meta(description="Where exports, logs and context_infos.json go.")] = None
    resume: Annotated[bool | None, Meta(description="Go on where the newest run of this file stopped.")] = None
    debug: bool | None = None
    hpo_config: Annotated[dict[str, Any] | str | None, Meta(description="A sweep, or the path of its file.")] = None
    max_iter_num: Annotated[Count | None, Meta(description="0: until `iter_targets` hold.")] = None
    iter_targets: Annotated[
        list[str] | str | None, Meta(description="<pipeline>.<meta_name>.<output> <op> <number>; op: == >= <= > <")
    ] = None
    iter_targets_mode: Literal["all", "any"] | None = None
    iter_updater: Annotated[
        dict[str, str] | None,
        Meta(description="<pipeline>.<meta_name>.<output>: <pipeline>.<meta_name>.<dj_configs|extra_configs>.<key...>"),
    ] = None
    envs: Annotated[
        dict[str, dict[str, Any] | str | None] | None, Meta(description="Specs of envs, or their paths, by name.")
    ] = None
    parallel: Annotated[bool | None, Meta(description="Pipelines that need nothing of each other run together.")] = None
    pipelines: list[dict[str, PipelinePart | None]] | dict[str, PipelinePart | None] | None = None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of an experiment file, for editors.

    `docs/experiment.schema.json` is what `python -m sandbox_actors.experiment_file.schema` prints.
    """
    schema = msgspec.json.schema(ExperimentPart)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Experiment", **schema}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
