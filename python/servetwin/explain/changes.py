"""Single changes of a deployment: what an engineer would try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..catalog import resolve_engine
from ..describe import resolve
from ..errors import SpecError
from ..plan.derive import ROUTERS, TOKENS
from ..plan.space import LOSSY
from ..spec import Spec, vary
from ..spec.engine import SglangEngine, TrtllmEngine, VllmEngine


@dataclass(frozen=True)
class Change:
    """One field set to another value."""

    path: str
    before: Any
    after: Any
    spec: Spec

    @property
    def lossy(self) -> bool:
        return self.path in LOSSY


def changes(spec: Spec, axes: Mapping[str, list[Any]]) -> list[Change]:
    """What an engineer would try: neighbours on the axes of a study, and of each field that matters.

    Values that no spec can have, and deployments that do not fit their GPUs, are left out.
    """
    found: dict[tuple[str, str], Change] = {}
    for path, before, after in (*_neighbours(spec, axes), *_usual(spec)):
        if after == before or (path, repr(after)) in found:
            continue
        try:
            changed = vary(spec, {path: after})
            resolve(changed)
        except SpecError:
            continue
        found[path, repr(after)] = Change(path, before, after, changed)
    return list(found.values())


def _neighbours(spec: Spec, axes: Mapping[str, list[Any]]) -> Iterator[tuple[str, Any, Any]]:
    """The values before and after a study's own on each of its axes."""
    for path, values in axes.items():
        now = _value(spec, path)
        if now in values:
            place = values.index(now)
            yield from ((path, now, values[i]) for i in (place - 1, place + 1) if 0 <= i < len(values))


def _usual(spec: Spec) -> Iterator[tuple[str, Any, Any]]:
    pools = spec.by_pool
    for role, seen in pools.items():
        above = "" if role == "aggregated" else f"pools.{role}."
        for more in (-1, 1):
            if seen.replicas + more > 0:
                yield f"{above}replicas", seen.replicas, seen.replicas + more
        for path, now in _sizes(seen):
            for size in (now // 2, now * 2):
                if size > 0:
                    yield f"{above}{path}", now, size
        if seen.router.kind in ROUTERS and seen.replicas > 1:
            other = next(kind for kind in ROUTERS if kind != seen.router.kind)
            yield f"{above}router", seen.router.kind, other
    for path, now, other in _lossless(spec):
        yield path, now, other


def _sizes(spec: Spec) -> Iterator[tuple[str, int]]:
    """What a pass may hold, as it is resolved, and the ranks of a replica."""
    requests, tokens = _limits(spec)
    match spec.engine:
        case VllmEngine():
            names = ("max_num_seqs", "max_num_batched_tokens")
        case SglangEngine():
            names = ("max_running_requests", "chunked_prefill_size")
            if spec.engine.pp_max_micro_batch_size is not None:
                names, requests = ("pp_max_micro_batch_size", names[1]), spec.engine.pp_max_micro_batch_size
        case TrtllmEngine():
            names = ("max_batch_size", "max_num_tokens")
    yield f"engine.{names[0]}", requests
    yield f"engine.{names[1]}", tokens
    yield "parallel.tensor", spec.parallel.tensor


def _limits(spec: Spec) -> tuple[int, int]:
    """Requests and tokens of a pass, with the engine's defaults filled in."""
    engine = resolve_engine(spec, "aggregated")
    return engine.rows, engine.pass_tokens if engine.pass_tokens > 0 else TOKENS[1]


def _lossless(spec: Spec) -> Iterator[tuple[str, Any, Any]]:
    match spec.engine:
        case VllmEngine():
            yield (
                "engine.enable_prefix_caching",
                spec.engine.enable_prefix_caching,
                not spec.engine.enable_prefix_caching,
            )
            yield "engine.kv_cache_dtype", spec.engine.kv_cache_dtype, "fp8"
        case SglangEngine():
            yield "engine.disable_radix_cache", spec.engine.disable_radix_cache, not spec.engine.disable_radix_cache
            yield "engine.kv_cache_dtype", spec.engine.kv_cache_dtype, "fp8_e4m3"
        case TrtllmEngine():
            yield (
                "engine.enable_chunked_prefill",
                spec.engine.enable_chunked_prefill,
                (not spec.engine.enable_chunked_prefill),
            )
            yield "engine.kv_cache_config.dtype", spec.engine.kv_cache_config.dtype, "fp8"
    yield ".".join(map(str, spec.engine.quantization_option)), spec.engine.quantization, "fp8"


def _value(spec: Spec, path: str) -> Any:
    node: Any = spec.source.data
    for name in path.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return None
        node = node[name]
    return node.get("kind", node) if path.split(".")[-1] == "router" and isinstance(node, Mapping) else node
