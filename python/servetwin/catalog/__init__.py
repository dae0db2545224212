"""GPUs and models by name, what fits into memory, and an engine's options with all defaults filled in."""

from .config_json import read_config
from .engine import ResolvedEngine
from .formats import FORMATS
from .gpus import GPUS, Gpu
from .lookup import find_gpu, find_model, gpu, model
from .memory import Memory, memory
from .models import Model, Stored
from .named import MODELS
from .parallel import Ranks, describe_data, ranks
from .resolve import resolve_engine

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
