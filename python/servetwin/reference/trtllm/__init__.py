"""One TensorRT-LLM worker in plain Python, one pass at a time: how to learn the engine.

Start with `engine.py`, the clock; then `scheduler.py`, what goes into each pass; then `capacity.py`, who may hold
blocks; `pipeline.py`, several stages. Blocks are vLLM's (`reference.vllm.block_pool`), filled and freed at other
moments. Written from the source of version 1.2's PyTorch backend, and not checked against recordings.
"""

from .config import EngineConfig
from .run import run

__all__ = ["EngineConfig", "run"]
