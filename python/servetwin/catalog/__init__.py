"""GPUs and models by name, what fits into memory, and an engine's options with all defaults filled in."""

from .engine import ResolvedEngine
from .gpus import GPUS, Gpu
from .lookup import find_gpu, find_model
from .memory import Memory, kv_bytes_per_token, memory
from .models import MODELS, Model, read_config
from .resolve import resolve_engine

__all__ = [
    "GPUS",
    "MODELS",
    "Gpu",
    "Memory",
    "Model",
    "ResolvedEngine",
    "find_gpu",
    "find_model",
    "kv_bytes_per_token",
    "memory",
    "read_config",
    "resolve_engine",
]
