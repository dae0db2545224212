"""The pools of SGLang where some layers look back a window: one for all tokens, one for the last ones.

Read from sglang 0.5.23: model_executor/pool_configurator.py, configs/model_config.py (is_hybrid_swa_model),
arg_groups/model_overrides/deepseek_v4.py, arg_groups/deepseek_v4_hook.py, disaggregation/prefill.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..spec import Spec
from ..spec.engine import SglangEngine
from .formats import FP8, Format
from .layers import CompressedAttention, GroupedAttention
from .models import Model
from .parallel import Ranks

V4 = "DeepseekV4ForCausalLM"
GPT_OSS = "GptOssForCausalLM"

APART = (V4, GPT_OSS, "MiMoV2FlashForCausalLM")
"""Architectures whose windows have a pool of their own; of others with windows, every layer keeps every token."""

RATIO = 0.8
V4_RATIO = 0.1
"""swa_full_tokens_ratio, if it is not given: slots for windows to slots for all tokens."""

EVICTION_INTERVAL = 128
"""SGLANG_SWA_EVICTION_INTERVAL: tokens that leave a window before their slots are given back."""

V4_PAGE = 256
V4_REQUESTS = 256
"""What SGLang sets page_size to, and max_running_requests if it is not given."""

_CACHE_LINE = 576
"""Pages of V4's latents are padded to a multiple of so many bytes (DeepSeekV4SingleKVPool.create_buffer)."""

_STATE_BYTES = 4
"""Of a number of the compressors' states: float32 (SGLANG_DSV4_COMPRESS_STATE_DTYPE)."""


@dataclass(frozen=True)
class Window:
    """Of one rank, but for `tokens` and `ratio`."""

    tokens: int
    """That the layers with a window look back."""
    ratio: float
    token_bytes: float
    """Of one token in the pool of all tokens."""
    window_bytes: float
    """Of one token in the windows' pool."""
    state_bytes: int
    """Of all requests, whatever their length."""
    request_bytes: int
    """Of one of them."""
    cap: int | None
    """Slots for windows, where they do not follow from `ratio`."""
    counts_head: bool = False
    """Whether these bytes include those of a drafting head."""

    def fit(self, size: int, page: int) -> int:
        """Tokens that fit into `size` bytes, in whole pages."""
        each, fixed = self.token_bytes + self.ratio * self.window_bytes, 0.0
        if self.cap is not None:
            each, fixed = self.token_bytes, self.cap * self.window_bytes
        return max(int((size - fixed) / each), 0) // page * page

    def slots(self, pool: int, page: int) -> int:
        """Of the windows' pool beside one of `pool` tokens."""
        return int(pool * self.ratio) // page * page if self.cap is None else min(self.cap, pool)

    def describe(self, pool: int, page: int) -> dict[str, Any]:
        """As the core reads it."""
        return {
            "tokens": self.tokens,
            "pool_tokens": self.slots(pool, page),
            "eviction_interval": EVICTION_INTERVAL,
        }


def is_v4(model: Model | None) -> bool:
    return model is not None and model.architecture == V4


def cache_of(model: Model | None, asked: str, kv: Format) -> Format:
    """V4's is in FP8 unless something else is asked for."""
    return FP8 if is_v4(model) and asked == "auto" else kv


def check_window_options(spec: Spec, engine: SglangEngine, model: Model | None) -> None:
    """Raises SpecError for options that go with no such pool, and for what SGLang does not do with one."""
    problem = spec.source.problem
    if model is None or model.architecture not in APART:
        if spec.was_set("engine", "swa_full_tokens_ratio"):
            raise problem(
                ("engine", "swa_full_tokens_ratio"),
                "never read: the model has no layers whose windows have a pool of their own",
                wanted="it left out, or such as model: gpt-oss-120b",
            )
        return
    if engine.enable_hierarchical_cache:
        raise problem(
            ("engine", "enable_hierarchical_cache"),
            "HiCache is not yet modelled beside a pool of windows",
            found="true",
        )
    if engine.enable_mixed_chunk:
        raise problem(
            ("engine", "enable_mixed_chunk"), "mixed passes are not yet modelled beside a pool of windows", found="true"
        )
    if model.architecture != V4:
        return
    if engine.page_size != V4_PAGE:
        raise problem(
            ("engine", "page_size"),
            "SGLang sets another for this architecture",
            found=str(engine.page_size),
            wanted=str(V4_PAGE),
        )
    if engine.speculative_algorithm == "NGRAM" or (engine.speculative_eagle_topk or 1) > 1:
        raise problem(
            ("engine", "speculative_algorithm"),
            "SGLang refuses others than EAGLE with a topk of 1 for this architecture",
            wanted="EAGLE or NEXTN, with speculative_eagle_topk: 1",
        )


def window(
    spec: Spec, engine: SglangEngine, model: Model | None, kv: Format, shared: Ranks, chunk: int | None, role: str
) -> Window | None:
    """None where all layers keep every token. `chunk` is a rank's. Raises SpecError."""
    check_window_options(spec, engine, model)
    if model is None or model.architecture not in APART:
        return None
    looks = min(mixer.window for mixer in _windows(model) if mixer.window is not None)
    if model.architecture == V4:
        ratio = engine.swa_full_tokens_ratio or V4_RATIO
        return _compressed(model, looks, ratio, engine, shared, role)
    # gpt_oss.get_attention_sliding_window_size: one less, for the token itself.
    looks -= model.architecture == GPT_OSS
    near = sum(_bytes(layer.count, layer.mixer, kv, shared.tensor) for layer in model.stack if _has_window(layer.mixer))
    every = model.cache_bytes(1, kv, shared.tensor)
    share = _stage_share(model, shared)
    cap = _request_cap(engine, looks, shared, chunk, role)
    ratio = engine.swa_full_tokens_ratio or RATIO
    return Window(looks, ratio, (every - near) * share, near * share, 0, 0, cap)


def _windows(model: Model) -> list[GroupedAttention | CompressedAttention]:
    found = [layer.mixer for layer in model.stack]
    return [mixer for mixer in found if isinstance(mixer, GroupedAttention | CompressedAttention)]


def _has_window(mixer: Any) -> bool:
    return isinstance(mixer, GroupedAttention) and mixer.window is not None


def _bytes(count: int, mixer: Any, kv: Format, tensor: int) -> int:
    size: int = mixer.cache_bytes(1, kv, tensor)
    return count * size


def _stage_share(model: Model, shared: Ranks) -> float:
    """Of the layers, those of the fullest pipeline stage."""
    return -(-model.layers // shared.pipeline) / model.layers


def _request_cap(engine: SglangEngine, looks: int, shared: Ranks, chunk: int | None, role: str) -> int | None:
    """SWARequestCapPoolConfigurator: without a radix cache, for a given number of requests, what these may hold."""
    rows, page = engine.max_running_requests, engine.page_size
    decodes = role == "decode"
    if rows is None or not (engine.disable_radix_cache or decodes) or (chunk is None and not decodes):
        return None
    drafts = engine.drafting
    verified = 1 if drafts is None else drafts.drafts + 1
    # compute_swa_request_cap: window, interval and a page of padding, and what the next decode takes.
    each = looks + EVICTION_INTERVAL * verified + page + (page if drafts is None else 2 * verified)
    held = each * max(rows // shared.data, 1)
    if decodes:
        held += (looks + page) * (engine.disaggregation_decode_extra_slots or 0)
    else:
        held += (1 if engine.disable_overlap_schedule else 2) * (chunk or 0) + page
    return -(-held // page) * page


def _compressed(model: Model, looks: int, ratio: float, engine: SglangEngine, shared: Ranks, role: str) -> Window:
    """DSV4PoolConfigurator: latents in pages that are padded; the compressors' states beside them.

    States of entries of 4 tokens go with the windows' pages, those of 128 with the requests. A layer for drafting is
    counted as one of the others.
    """
    layers = [(layer.count, layer.mixer) for layer in model.stack if isinstance(layer.mixer, CompressedAttention)]
    mixer = layers[0][1]
    latent = mixer.entry_bytes(FP8)
    drafts = engine.drafting is not None
    token = sum(
        count * (_page_bytes(latent, V4_PAGE // one.ratio) / (V4_PAGE // one.ratio) + one.index_bytes(FP8)) / one.ratio
        for count, one in layers
        if one.ratio
    )
    fine = sum(count for count, one in layers if one.ratio == 4)
    coarse = sum(count for count, one in layers if one.ratio == 128)
    index = next((one.indexer.head_dim for _, one in layers if one.indexer is not None), 0)
    states = 4 * (mixer.head_dim + index) * _STATE_BYTES * fine * (16 if drafts else 8) / V4_PAGE
    near = _page_bytes(latent, V4_PAGE) / V4_PAGE * model.layers + states
    ring = 256 if drafts else 128
    row = 2 * mixer.head_dim * _STATE_BYTES * coarse
    share = _stage_share(model, shared)
    infl = (model.layers + drafts) / model.layers * share
    requests = max((engine.max_running_requests or V4_REQUESTS) // shared.data, 1) + 1
    requests += (engine.disaggregation_decode_extra_slots or 0) if role == "decode" else 0
    rows = -(-(requests * ring + ring + 1) // 128) * 128
    return Window(
        looks, ratio, token * infl, near * infl, int(rows * row * share), int(ring * row * share), None, drafts
    )


def _page_bytes(latent: int, tokens: int) -> int:
    return -(-latent * tokens // _CACHE_LINE) * _CACHE_LINE
