"""The options of SGLang's recorder: some `ServerArgs`, and `ignore_eos` for all requests."""

from __future__ import annotations

from ...reference.sglang import EngineConfig
from ...reference.sglang.new_token_ratio import NewTokenRatio
from ..fields import Fields

ENFORCED = {
    "fast_match_prefix": False,
    "tree_core": "RustUnifiedTreeCore",
}
"""What the recorder saw of the engine, and must have been so."""


def read_config(fields: Fields, version: str) -> EngineConfig:
    """The recorder's options and defaults, under its names; the engine's for those it leaves out.

    As in the engine, a pool is cut to whole pages, and no more requests run than half its slots.
    """
    page_size = fields.integer("page_size", 1, least=1)
    max_total_tokens = fields.integer("max_total_tokens", 4096, least=1) // page_size * page_size
    chunked_prefill_size = fields.take("chunked_prefill_size", 512)
    if not isinstance(chunked_prefill_size, int) or isinstance(chunked_prefill_size, bool):
        fields.refuse("chunked_prefill_size", chunked_prefill_size, "a number of tokens, or -1 for no chunks")
    config = EngineConfig(
        page_size=page_size,
        max_total_tokens=max_total_tokens,
        max_running_requests=min(fields.integer("max_running_requests", 64, least=1), max_total_tokens // 2),
        chunked_prefill_size=chunked_prefill_size if chunked_prefill_size > 0 else None,
        max_prefill_tokens=fields.integer("max_prefill_tokens", 16384, least=1),
        enable_mixed_chunk=fields.flag("enable_mixed_chunk", False),
        schedule_policy=fields.text("schedule_policy", "fcfs"),
        schedule_conservativeness=float(fields.number("schedule_conservativeness", 1)),
        disable_radix_cache=fields.flag("disable_radix_cache", False),
        enable_priority_scheduling=fields.flag("enable_priority_scheduling", False),
        disable_priority_preemption=fields.flag("disable_priority_preemption", False),
        schedule_low_priority_values_first=fields.flag("schedule_low_priority_values_first", False),
        priority_scheduling_preemption_threshold=fields.integer(
            "priority_scheduling_preemption_threshold", 10, least=-(2**31)
        ),
        ignore_eos=fields.flag("ignore_eos", True),
    )
    fields.finish()
    return config


def take_effective(fields: Fields, config: EngineConfig) -> None:
    """What the engine made of the options."""
    seen = {
        **ENFORCED,
        "max_total_num_tokens": config.max_total_tokens,
        "max_running_requests_effective": config.max_running_requests,
    }
    for key, expected in seen.items():
        if (found := fields.take(key)) != expected:
            fields.refuse(key, found, repr(expected))
    ratio = NewTokenRatio(config.schedule_conservativeness)
    expected_ratio = {"init": ratio.initial, "min": ratio.floor, "decay": ratio.step}
    found_ratio = fields.take("new_token_ratio")
    if not isinstance(found_ratio, dict) or any(found_ratio.get(key) != one for key, one in expected_ratio.items()):
        fields.refuse("new_token_ratio", found_ratio, repr(expected_ratio))
