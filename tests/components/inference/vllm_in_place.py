"""Puts the stand-in where vLLM would be, and has the component for it."""

from __future__ import annotations

import sys
from pathlib import Path

from components.inference.vllm_engine import VllmInferExecutor

__all__ = ["VllmInferExecutor"]

sys.path.insert(0, str(Path(__file__).with_name("vllm_stand_in")))
