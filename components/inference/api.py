"""Inference with any API that is compatible with OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from components.inference.answers import Unanswered
from components.inference.endpoint import check_api, endpoint_of
from components.inference.executor import InferExecutor, InferRun, Request
from components.inference.settings import API_SECRETS, ApiSettings, InferSettings
from sandbox_actors.errors import ComponentFailed

if TYPE_CHECKING:
    from components.inference.asking import Asker

FIRST_REFUSALS = 3
"""If that many requests are refused before any is answered, the run fails."""


class ApiInferExecutor(InferExecutor):
    """Asks an API, many requests at once: see ApiSettings."""

    env = "api"
    is_light = True
    secrets = API_SECRETS
    settings_type: ClassVar[type[InferSettings]] = ApiSettings

    def settings(self) -> ApiSettings:
        settings: ApiSettings = super().settings()
        check_api(settings)
        return settings

    def identity(self, settings: ApiSettings) -> dict[str, Any]:
        return {
            "type": "api",
            "url": endpoint_of(settings).shown,
            "model": settings.model,
            "sampling_params": settings.sampling_params,
            "response_path": settings.response_path,
        }

    async def answer(self, run: InferRun, settings: ApiSettings) -> None:
        from components.inference.asking import asking  # imports asyncio, which `sandbox check` does not need

        async with asking(settings) as asker:
            requests = run.open_requests()
            await _together([_work(asker, run, requests) for _ in range(settings.max_concurrency)])


async def _work(asker: Asker, run: InferRun, requests: Iterator[Request]) -> None:
    """Answer requests until there are no more. Raises ComponentFailed if there is no point in continuing."""
    for request in requests:
        try:
            answer = await asker.ask(request.messages, run.retried)
        except Unanswered as failure:
            run.refused(request, str(failure))
            if not run.has_answers and run.failed >= FIRST_REFUSALS:
                raise ComponentFailed(f"none of the first {run.failed} requests was answered: {failure}") from None
        else:
            run.answered(request, answer.output, answer.prompt_tokens, answer.completion_tokens)


async def _together(workers: list[Any]) -> None:
    """Run all of them; the first error ends the others and is raised."""
    import asyncio

    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
