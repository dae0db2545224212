"""`engine`: which one, and its options under its own names."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .sglang import SglangEngine
from .speculation import Acceptance
from .trtllm import TrtllmEngine
from .vllm import Speculative, VllmEngine

Engine = Annotated[VllmEngine | SglangEngine | TrtllmEngine, Field(discriminator="name")]

TITLES = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM"}
"""Engines as their makers write them."""

__all__ = ["TITLES", "Acceptance", "Engine", "SglangEngine", "Speculative", "TrtllmEngine", "VllmEngine"]
