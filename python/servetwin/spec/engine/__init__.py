"""`engine`: which one, and its options under its own names."""

from __future__ import annotations

from typing import Annotated

from ..kinds import ByKind
from .sglang import SglangEngine
from .speculation import Acceptance, Drafting, Speculation
from .trtllm import TrtllmEngine, TrtllmSpeculative
from .vllm import Speculative, VllmEngine

Engine = Annotated[VllmEngine | SglangEngine | TrtllmEngine, ByKind("name")]

TITLES = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM"}
"""Engines as their makers write them."""

__all__ = [
    "TITLES",
    "Acceptance",
    "Drafting",
    "Engine",
    "SglangEngine",
    "Speculation",
    "Speculative",
    "TrtllmEngine",
    "TrtllmSpeculative",
    "VllmEngine",
]
