"""A tiny chat model, and the processes that infer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.components.conftest import ComponentProcess, Start
from tests.local_server import make_model

API = "components.inference.api:ApiInferExecutor"
HUGGINGFACE = "components.inference.huggingface:HuggingFaceInferExecutor"


@pytest.fixture(scope="session")
def tiny_chat(component_env: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that says grades, such as `0.3`."""
    return make_model(component_env("transformers"), tmp_path_factory.mktemp("models") / "tiny-chat")


@pytest.fixture(scope="session")
def api(start_component: Start) -> ComponentProcess:
    """A process without a key."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            patch.delenv(name, raising=False)
        return start_component("api", API)


@pytest.fixture(scope="session")
def huggingface(start_component: Start) -> ComponentProcess:
    return start_component("transformers", HUGGINGFACE)
