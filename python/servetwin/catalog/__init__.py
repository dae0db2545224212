"""GPUs and models by name, what fits into memory, and an engine's options with all defaults filled in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .engine import ResolvedEngine
from .formats import FORMATS
from .gpus import GPUS, Gpu
from .lookup import find_gpu, find_model, gpu, model
from .memory import Memory, memory
from .models import Model, Stored
from .parallel import Ranks, describe_data, ranks
from .resolve import resolve_engine

if TYPE_CHECKING:
    from .config_json import read_config
    from .named import MODELS

__all__ = [
    "FORMATS",
    "GPUS",
    "MODELS",
    "Gpu",
    "Memory",
    "Model",
    "Ranks",
    "ResolvedEngine",
    "Stored",
    "describe_data",
    "find_gpu",
    "find_model",
    "gpu",
    "memory",
    "model",
    "ranks",
    "read_config",
    "resolve_engine",
]

_LATER = {"MODELS": ".named", "read_config": ".config_json"}


def __getattr__(name: str) -> Any:
    # Imported on first use: a spec need not name a model.
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)
