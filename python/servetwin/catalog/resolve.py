"""The engine a spec asks for, resolved."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from ..spec import Spec
from ..spec.engine import SglangEngine, TrtllmEngine, VllmEngine
from .engine import ResolvedEngine
from .lookup import find_model
from .parallel import check_ranks


def resolve_engine(spec: Spec, role: str = "aggregated") -> ResolvedEngine:
    """Of a pool with this role.

    Raises SpecError for an unknown model or GPU, for what the engine refuses at start, and for what does not fit.
    """
    check_ranks(spec, find_model(spec))
    resolved = _resolved(spec, role)
    if role != "aggregated" and "groups" in resolved.options:
        raise spec.source.problem(
            ("model",),
            "hand-overs of layers that do not keep every token are not yet modelled under vLLM",
            found=None if resolved.model is None else resolved.model.name,
            wanted="no pools, or SGLang",
        )
    if spec.parallel.data == 1:
        return resolved
    return replace(resolved, rules=f"unrecorded of data ranks together; of one rank {resolved.rules}")


def _resolved(spec: Spec, role: str) -> ResolvedEngine:
    engine = spec.engine
    match engine:
        case VllmEngine():
            from .vllm import resolve_vllm

            return resolve_vllm(spec, engine)
        case SglangEngine():
            from .sglang import resolve_sglang

            return resolve_sglang(spec, engine, role)
        case TrtllmEngine():
            from .trtllm import resolve_trtllm

            return resolve_trtllm(spec, engine)
        case _:
            assert_never(engine)
