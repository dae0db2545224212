"""The options of one worker that its schedule depends on, under TensorRT-LLM's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import ServetwinError
from ..acceptance import Acceptance

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
    max_draft_len: int = 0
    """Drafts of each request in each pass."""
    acceptance: Acceptance | None = None
    num_extra_kv_tokens: int = 0
    """Slots that a drafting head fills beyond the tokens of a pass."""
    max_concurrency: int | None = None
    """No drafts while more requests are active."""

    pp_size: int = 1
    """Pipeline stages."""

    def __post_init__(self) -> None:
        reserves = self.capacity_scheduler_policy == "GUARANTEED_NO_EVICT"
        if self.pp_size > 1 and (self.max_draft_len or not reserves):
            raise ServetwinError("pipeline stages are modelled under GUARANTEED_NO_EVICT, without speculation")

    def drafts_for(self, active: int) -> int:
        off = self.max_concurrency is not None and active > self.max_concurrency
        return 0 if off else self.max_draft_len
