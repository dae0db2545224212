"""Checks of speculative decoding: what an engine refuses itself, what it would never read, and what is not modelled."""

from __future__ import annotations

from .deployment import Spec
from .engine import SglangEngine, TrtllmEngine, VllmEngine

TREE = ("speculative_num_steps", "speculative_eagle_topk", "speculative_num_draft_tokens")
"""SGLang's options of a drafting head."""


def check_speculation(spec: Spec) -> None:
    """Of one pool, perhaps one of several. Raises SpecError for the first thing wrong."""
    match spec.engine:
        case VllmEngine() as engine:
            _vllm(spec, engine)
        case SglangEngine() as engine:
            _sglang(spec, engine)
        case TrtllmEngine() as engine:
            _trtllm(spec, engine)
    drafting = spec.engine.drafting
    if drafting is None:
        return
    problem = spec.source.problem
    if drafting.options.acceptance.cycle is not None and not isinstance(spec.engine, VllmEngine):
        raise problem(
            (*drafting.field, "acceptance"),
            "acceptance in cycles is that of vLLM's recordings, and modelled for vLLM only",
            wanted="each, conditional or mean_length",
        )
    fault = drafting.options.acceptance.fault(drafting.steps)
    if fault is not None:
        name, found, wanted = fault
        raise problem(
            (*drafting.field, "acceptance", name), f"not with {drafting.steps} drafts", found=found, wanted=wanted
        )


def _vllm(spec: Spec, engine: VllmEngine) -> None:
    problem, speculative = spec.source.problem, engine.speculative
    if speculative is None:
        return
    drafts, threshold = speculative.num_speculative_tokens, engine.long_prefill_token_threshold
    if 0 < threshold < 1 + drafts:
        raise problem(
            ("engine", "long_prefill_token_threshold"),
            f"vLLM fails where it is below 1 + num_speculative_tokens ({1 + drafts})",
            found=str(threshold),
            wanted=f"0 (off), or at least {1 + drafts}",
        )
    for name in ("num_speculative_tokens_per_batch_size", "disable_eagle_block_drop"):
        if engine.version == "0.19" and spec.was_set("engine", "speculative", name):
            raise problem(("engine", "speculative", name), "vLLM 0.19 has no such option", wanted="it left out")
    if speculative.disable_eagle_block_drop and not speculative.has_head:
        raise problem(
            ("engine", "speculative", "disable_eagle_block_drop"),
            "never read with n-gram speculation, which drops no block",
            wanted="it left out",
        )
    if engine.async_scheduling and not speculative.has_head:
        raise problem(
            ("engine", "async_scheduling"),
            "vLLM cannot schedule asynchronously with ngram speculation",
            found="true",
            wanted="false, or it left out",
        )


def _sglang(spec: Spec, engine: SglangEngine) -> None:
    problem, algorithm = spec.source.problem, engine.speculative_algorithm
    if algorithm is None:
        for name in (*TREE, "speculation"):
            if spec.was_set("engine", name):
                raise problem(("engine", name), "never read without speculative_algorithm", wanted="an algorithm")
        return
    if engine.speculation is None:
        raise problem(
            ("engine", "speculation"),
            "missing: how many drafts are accepted depends on the text, which no option tells",
            wanted="such as `speculation: {acceptance: 0.7}`",
        )
    if algorithm == "NGRAM":
        for name in TREE[:2]:
            if spec.was_set("engine", name):
                raise problem(("engine", name), "never read with NGRAM", wanted="it left out")
    else:
        _sglang_tree(spec, engine)
    if engine.enable_mixed_chunk:
        raise problem(("engine", "enable_mixed_chunk"), "SGLang turns it off with speculation", wanted="it left out")


def _sglang_tree(spec: Spec, engine: SglangEngine) -> None:
    problem = spec.source.problem
    steps, topk, tokens = (getattr(engine, name) for name in TREE)
    for name in TREE:
        if getattr(engine, name) is None:
            raise problem(
                ("engine", name),
                "missing: SGLang chooses it by the model's architecture",
                wanted="all three, such as 3 steps, a topk of 1 and 4 draft tokens, its choice for most",
            )
    least, most = (steps + 1, steps + 1) if topk == 1 else (steps + 1, 1 + topk + (steps - 1) * topk**2)
    if not least <= tokens <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise problem(
            ("engine", "speculative_num_draft_tokens"),
            f"{steps} steps with a topk of {topk} draft otherwise, the token before them included",
            found=str(tokens),
            wanted=wanted,
        )


def _trtllm(spec: Spec, engine: TrtllmEngine) -> None:
    problem, options = spec.source.problem, engine.speculative_config
    if options is None:
        return
    if engine.scheduler_config.capacity_scheduler_policy == "MAX_UTILIZATION":
        raise problem(
            ("engine", "scheduler_config", "capacity_scheduler_policy"),
            "speculation is not yet modelled where requests are paused",
            found="MAX_UTILIZATION",
            wanted="GUARANTEED_NO_EVICT or STATIC_BATCH",
        )
    least = engine.max_batch_size * (1 + options.drafts)
    if engine.max_num_tokens < least:
        raise problem(
            ("engine", "max_num_tokens"),
            f"below max_batch_size · (1 + drafts) ({least:,}), passes in which some requests get no token: not yet "
            "modelled",
            found=f"{engine.max_num_tokens:,}",
            wanted=f"at least {least:,}, or a smaller max_batch_size",
        )
