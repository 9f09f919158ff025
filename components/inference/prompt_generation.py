"""New prompts that a model writes from the best ones so far: a step of prompt optimisation."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base import BaseDataPoolManipulator
from components.inference.answers import Unanswered
from components.inference.endpoint import check_api
from components.inference.functions import Messages
from components.inference.samples import Sample, read_samples, with_fields, write_lines
from components.inference.settings import API_SECRETS, PromptGenerationSettings
from components.struct_settings import read_settings
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem
from sandbox_actors.files import user_path

if TYPE_CHECKING:
    from components.inference.asking import Asker


class PromptGeneration(BaseDataPoolManipulator):
    """Writes a dataset of prompts with new ones that a model writes; returns its path. See PromptGenerationSettings.

    The model is shown some of the prompts and asked for a better one, which is then among those that it is shown next.
    If its prompt is empty or already known, it is asked again. A new sample has the other fields of the first one.
    """

    env = "api"
    is_light = True
    reads = ("dataset_path",)
    secrets = API_SECRETS
    settings_type = PromptGenerationSettings

    async def run(self) -> str:
        from components.inference.asking import asking  # imports asyncio, which `sandbox check` does not need

        settings = read_settings(self.data_pool_cfg, PromptGenerationSettings, "prompt generation")
        check_api(settings)
        _check(settings)
        path = user_path(settings.dataset_path)
        samples = list(read_samples(path))
        known = [_prompt(sample, settings.prompt_key, path) for sample in samples]
        if not known:
            raise ComponentFailed(f"{path} contains no prompts to start from")
        async with asking(settings) as asker:
            made = [prompt async for prompt in _new_prompts(known, asker, settings)]
        if not made:
            attempts = settings.gen_num * settings.retry_num
            advice = "see its outputs in the log, and `output_pattern`"
            raise ComponentFailed(f"the model made no new prompt in {attempts} attempts: {advice}")
        target = user_path(settings.export_path).absolute()
        if target.suffix != ".jsonl":
            target = target / "prompts.jsonl"
        write_lines(target, _lines(samples, made, settings))
        print(f"{len(made)} new prompts and {len(known)} known: {target}")
        return str(target)


async def _new_prompts(known: list[str], asker: Asker, settings: PromptGenerationSettings) -> Any:
    """At most `gen_num` prompts. Raises ComponentFailed if the model cannot be asked."""
    chance = random.Random(settings.seed)
    shown = chance.sample(known, min(settings.max_example_num, len(known)))
    seen = set(known)
    for number in range(settings.gen_num):
        for _ in range(settings.retry_num):
            prompt = await _ask(asker, _messages(shown, settings), settings.output_pattern)
            if prompt and prompt not in seen:
                break
            print(f"prompt {number + 1}: {'already known' if prompt else 'nothing found in the answer'}")
        else:
            continue
        seen.add(prompt)
        shown = [*shown, prompt][-settings.max_example_num :]
        print(f"prompt {number + 1}: {prompt!r}")
        yield prompt


async def _ask(asker: Asker, messages: Messages, pattern: str) -> str:
    """The new prompt in the answer, empty if there is none."""
    try:
        answer = await asker.ask(messages, lambda reason: print(reason, file=sys.stderr))
    except Unanswered as failure:
        raise ComponentFailed(f"cannot ask the model for prompts: {failure}") from None
    found = re.search(pattern, str(answer.output), re.DOTALL)
    if found is None:
        print(f"no prompt in {str(answer.output)[:200]!r}")
        return ""
    return str(found.group(found.lastindex or 0) or "").strip()


def _messages(shown: list[str], settings: PromptGenerationSettings) -> Messages:
    examples = "".join(settings.example_template.replace("{}", prompt) for prompt in shown)
    return [
        {"role": "system", "content": settings.system_prompt},
        {"role": "user", "content": settings.input_template.replace("{}", examples)},
    ]


def _prompt(sample: Sample, key: str, path: Path) -> str:
    prompt = sample.item.get(key)
    if not isinstance(prompt, str) or not prompt.strip():
        raise ComponentFailed(
            f"{path}, line {sample.number}: no prompt under {key!r}; its keys are {', '.join(sample.item)}"
        )
    return prompt


def _lines(samples: list[Sample], made: list[str], settings: PromptGenerationSettings) -> Iterator[str]:
    if settings.keep_original_sample:
        yield from (sample.text for sample in samples)
    yield from (with_fields(samples[0].text, {settings.prompt_key: prompt}) for prompt in made)


def _check(settings: PromptGenerationSettings) -> None:
    problems = [
        Problem("prompt generation", name, "must be at least 1")
        for name in ("gen_num", "max_example_num", "retry_num")
        if getattr(settings, name) < 1
    ]
    problems += [
        Problem("prompt generation", name, "must contain {}, the place of the prompts")
        for name in ("input_template", "example_template")
        if "{}" not in getattr(settings, name)
    ]
    try:
        re.compile(settings.output_pattern)
    except re.error as error:
        problems.append(Problem("prompt generation", "output_pattern", f"not a regular expression: {error}"))
    if not user_path(settings.dataset_path).is_file():
        message = f"{settings.dataset_path} is not a file (searched from {Path.cwd()})"
        problems.append(Problem("prompt generation", "dataset_path", message))
    if problems:
        raise ConfigError(problems)
