"""The options of vLLM's recorder."""

from __future__ import annotations

from ...reference.vllm import Cycle, EngineConfig
from ..fields import Fields


def read_config(fields: Fields, version: str) -> EngineConfig:
    """The recorder's options and defaults, under its names."""
    if fields.take("max_num_active_seqs", None) is not None:
        fields.refuse("max_num_active_seqs", "a limit", "null: no other value is modelled")
    drafts = fields.integer("num_spec_tokens", 0)
    method = fields.text("spec_method", "ngram")
    if drafts and method != "ngram":
        fields.refuse("spec_method", method, "ngram: no other method is modelled")
    pattern = fields.integers("spec_accept") or (0,)
    if min(pattern) < 0:
        fields.refuse("spec_accept", pattern, "counts of accepted drafts")
    num_gpu_blocks = fields.integer("num_gpu_blocks", 4097, least=2)
    config = EngineConfig(
        version=version,
        max_num_seqs=fields.integer("max_num_seqs", 64, least=1),
        max_num_batched_tokens=fields.integer("max_num_batched_tokens", 2048, least=1),
        max_model_len=fields.integer("max_model_len", 131072, least=1),
        block_size=fields.integer("block_size", 16, least=1),
        num_gpu_blocks=num_gpu_blocks,
        enable_prefix_caching=fields.flag("enable_prefix_caching", True),
        enable_chunked_prefill=fields.flag("enable_chunked_prefill", True),
        long_prefill_token_threshold=fields.integer("long_prefill_token_threshold", 0),
        long_prefill_token_threshold_adaptive=fields.flag("long_prefill_token_threshold_adaptive", False),
        scheduling_policy=fields.text("policy", "fcfs"),
        watermark_blocks=int(float(fields.number("watermark", 0)) * num_gpu_blocks),
        scheduler_reserve_full_isl=fields.flag("scheduler_reserve_full_isl", True),
        async_scheduling=fields.flag("async_scheduling", False),
        num_speculative_tokens=drafts,
        acceptance=Cycle(pattern) if drafts else None,
    )
    fields.finish()
    return config
