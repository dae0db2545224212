"""The options of one worker that its schedule depends on, under TensorRT-LLM's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Policy = Literal["GUARANTEED_NO_EVICT", "MAX_UTILIZATION", "STATIC_BATCH"]
Chunking = Literal["FIRST_COME_FIRST_SERVED", "EQUAL_PROGRESS"]


@dataclass(frozen=True)
class EngineConfig:
    num_blocks: int
    """All of them usable."""
    max_seq_len: int
    version: str = "1.2"
    max_batch_size: int = 2048
    max_num_tokens: int = 8192
    enable_chunked_prefill: bool = False
    tokens_per_block: int = 32
    enable_block_reuse: bool = True
    capacity_scheduler_policy: Policy = "GUARANTEED_NO_EVICT"
    context_chunking_policy: Chunking = "FIRST_COME_FIRST_SERVED"
    batch_wait_timeout_iters: int = 0
    batch_wait_tokens: int = 0
    """batch_wait_max_tokens_ratio · max_num_tokens."""
