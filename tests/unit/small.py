"""A replica small enough to follow by hand, as the core takes it."""

from __future__ import annotations

from typing import Any

VLLM: dict[str, Any] = {
    "name": "vllm",
    "version": "0.32",
    "max_num_seqs": 8,
    "max_num_batched_tokens": 64,
    "max_model_len": 1024,
    "block_size": 16,
    "num_gpu_blocks": 101,
    "enable_prefix_caching": False,
    "enable_chunked_prefill": True,
    "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False,
    "scheduling_policy": "fcfs",
    "watermark_blocks": 0,
    "scheduler_reserve_full_isl": True,
    "async_scheduling": False,
    "num_speculative_tokens": 0,
}
