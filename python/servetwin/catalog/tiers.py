"""Memory below the GPU's: what it holds, and how fast it is."""

from __future__ import annotations

from typing import Any, Literal

from ..spec import Spec
from ..spec.base import MAX_COUNT
from ..spec.engine import SglangEngine, VllmEngine
from ..spec.tiers import TierBelow
from ..units import GIB, PS_PER_MS, nearest_ps
from .formats import Format
from .gpus import Gpu
from .layers import LatentAttention
from .lookup import needed
from .models import Model
from .speculation import head_bytes

COPY_EFFICIENCY = 0.85
"""Of the PCIe link's rate, what large copies from and to pinned memory reach. Assumed."""

HOST_PAGE_BYTES = 4096
"""vLLM rounds what a block takes on the host up to whole pages (SharedOffloadRegion.BLOCK_SIZE_ALIGNMENT)."""


def vllm_offload(
    spec: Spec, engine: VllmEngine, model: Model | None, gpu: Gpu | None, kv: Format
) -> dict[str, Any] | None:
    """The host memory that vLLM offloads to, as the core reads it; None if it does not. Raises SpecError."""
    given = spec.tiers.host.blocks
    if engine.kv_offloading_size is None and given is None:
        return None
    block_bytes = engine.block_size * rank_bytes_per_token(spec, model, kv)
    blocks = given
    if blocks is None:
        assert engine.kv_offloading_size is not None
        blocks = _vllm_blocks(spec, engine.kv_offloading_size, block_bytes, _copies(spec, model))
    return {
        "blocks": blocks,
        "block_bytes": block_bytes,
        "store": host_speed(spec, gpu, "store_gbytes_per_s"),
        "load": host_speed(spec, gpu, "load_gbytes_per_s"),
        "drops_last_block": _drops_last_block(engine),
        "below": [
            _below(spec, name, tier, block_bytes * _copies(spec, model))
            for name, tier in (("disk", spec.tiers.disk), ("shared", spec.tiers.shared))
            if tier is not None
        ],
    }


def _drops_last_block(engine: VllmEngine) -> bool:
    """Of heads, vLLM tells layers of multi-token prediction from the model's own, and what they keep of the last
    block that is found may be stale (_annotate_eagle_groups in v1/core/kv_cache_utils.py, and the connector's
    offloading/scheduler.py)."""
    speculative, drafting = engine.speculative, engine.drafting
    if speculative is None or drafting is None:
        return False
    return drafting.head == "mtp" and not speculative.disable_eagle_block_drop


def _below(spec: Spec, name: str, tier: TierBelow, block_bytes: int) -> dict[str, Any]:
    """A tier behind the host, as the core reads it; a block takes `block_bytes` there. Raises SpecError."""
    blocks = tier.blocks
    if blocks is None:
        assert tier.capacity_gib is not None
        blocks = _blocks(tier.capacity_gib, block_bytes)
    if not 1 <= blocks <= MAX_COUNT:
        raise spec.source.problem(
            ("tiers", name, "capacity_gib"),
            "smaller than a block" if blocks < 1 else "more blocks than can be counted",
            found=f"{tier.capacity_gib:g} GiB",
            wanted=f"{block_bytes / GIB:.2g} to {block_bytes * MAX_COUNT / GIB:.2g} GiB",
        )
    latency_ps = nearest_ps(tier.first_byte_ms, PS_PER_MS)
    return {
        "place": name,
        "blocks": blocks,
        "write": {"bytes_per_s": round(tier.write_gbytes_per_s * 1e9), "latency_ps": latency_ps},
        "read": {"bytes_per_s": round(tier.read_gbytes_per_s * 1e9), "latency_ps": latency_ps},
        "write_policy": tier.write_policy,
    }


def sglang_hicache(
    spec: Spec, engine: SglangEngine, model: Model | None, gpu: Gpu | None, kv: Format, pool_tokens: int
) -> dict[str, Any] | None:
    """HiCache, as the core reads it; None if it is off. `pool_tokens` are the device's.

    As SGLang sizes its pool (mem_cache/pool_host/base.py), in whole pages and one more; without a size, twice the
    device's (arg_groups/hicache_hook.py). Where no model is named, a pass is taken to wait for the whole of a load.
    Raises SpecError.
    """
    if not engine.enable_hierarchical_cache:
        return None
    token_bytes = rank_bytes_per_token(spec, model, kv)
    if engine.hicache_size is not None:
        tokens = engine.hicache_size * 10**9 // token_bytes
    else:
        tokens = int(pool_tokens * min(2.0 if engine.hicache_ratio is None else engine.hicache_ratio, 1e15))
    tokens = (tokens // engine.page_size + 1) * engine.page_size
    if tokens >= 2**31:
        raise spec.source.problem(
            ("engine", "hicache_ratio" if engine.hicache_size is None else "hicache_size"),
            "a pool of more tokens than can be counted",
            found=f"{tokens:,} tokens",
            wanted="below 2³¹",
        )
    return {
        "write_policy": engine.hicache_write_policy,
        "tokens": tokens,
        "layers": 1 if model is None else model.layers,
        "token_bytes": token_bytes,
        "load": host_speed(spec, gpu, "load_gbytes_per_s"),
        "store": host_speed(spec, gpu, "store_gbytes_per_s"),
    }


def rank_bytes_per_token(spec: Spec, model: Model | None, kv: Format) -> int:
    """What one rank keeps of a token, as given or of the model and its drafting head. Raises SpecError if there is
    neither."""
    if spec.tiers.kv_bytes_per_token is not None:
        return spec.tiers.kv_bytes_per_token
    if model is None:
        raise needed(spec, "model", "tiers.kv_bytes_per_token is not given, and is derived from it")
    tensor = spec.parallel.tensor
    return model.cache_bytes(1, kv, tensor) + head_bytes(model, spec.engine.drafting, kv, tensor)


def host_speed(
    spec: Spec, gpu: Gpu | None, field: Literal["store_gbytes_per_s", "load_gbytes_per_s"]
) -> dict[str, int]:
    """Of copies between a GPU and its host in one direction: as given, or most of its PCIe link's. Raises SpecError."""
    given: float | None = getattr(spec.tiers.host, field)
    if given is not None:
        rate = given * 1e9
    elif gpu is not None:
        rate = COPY_EFFICIENCY * gpu.pcie_bytes_per_s
    else:
        raise needed(spec, "gpu", f"tiers.host.{field} is not given, and is derived from its link to the host")
    return {"bytes_per_s": round(rate), "latency_ps": nearest_ps(spec.tiers.host.first_byte_ms, PS_PER_MS)}


def _copies(spec: Spec, model: Model | None) -> int:
    """How often the host holds a block: once a rank, but once in all where each rank has the same of it."""
    same = model is not None and all(isinstance(layer.mixer, LatentAttention) for layer in model.stack)
    return 1 if same else spec.parallel.tensor


def _vllm_blocks(spec: Spec, gib: float, block_bytes: int, copies: int) -> int:
    room = -(-block_bytes * copies // HOST_PAGE_BYTES) * HOST_PAGE_BYTES
    blocks = _blocks(gib, room)
    if not 1 <= blocks <= MAX_COUNT:
        raise spec.source.problem(
            ("engine", "kv_offloading_size"),
            "smaller than a block" if blocks < 1 else "more blocks than can be counted",
            found=f"{gib:g} GiB",
            wanted=f"{room / GIB:.2g} to {room * MAX_COUNT / GIB:.2g} GiB; a block takes {room:,} bytes",
        )
    return blocks


def _blocks(gib: float, block_bytes: int) -> int:
    # More than can be counted is as good as infinity, which is no integer.
    return int(min(gib, 1e15) * GIB) // block_bytes
