"""vLLM's KV cache groups: layers whose blocks are taken and given back together.

Read from vllm/v1/core/kv_cache_utils.py (_get_kv_cache_groups_uniform_page_size), single_type_kv_cache_manager.py and
platforms/interface.py (_align_hybrid_block_size).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..spec import Spec
from ..spec.engine import VllmEngine
from .formats import Format
from .layers import GatedDelta, GroupedAttention, LatentAttention, Mixer
from .models import Model
from .parallel import Ranks

_MUCH_MORE = 1.5
"""Where kinds of layers differ in number by less, the smaller is padded to the larger."""

_KERNEL_TOKENS = 16
"""Blocks are a multiple of so many tokens."""


@dataclass(frozen=True)
class Groups:
    """Beside one group of full attention: since the fewest layers make up a group, there is one of that."""

    layers: int
    """Of each group."""
    token_bytes: int
    """Of one token in one layer of full attention, on one rank."""
    count: int
    window: int
    """Tokens that a layer looks back, itself among them."""
    has_state: bool
    come_first: bool
    """In the order of groups, which is that of their first layers."""
    block_size: int
    """As vLLM sets it."""

    def describe(self) -> dict[str, int | bool]:
        """As the core reads it."""
        return {
            "count": self.count,
            "window": self.window,
            "has_state": self.has_state,
            "come_first": self.come_first,
        }

    def most(self, engine: VllmEngine, tokens: int, in_flight: int) -> int:
        """Blocks of these groups that vLLM wants at start for a request of `tokens` tokens, with `in_flight` tokens
        under way (max_memory_usage_bytes)."""
        drafts = engine.speculative.num_speculative_tokens if engine.speculative is not None else 0
        if self.has_state:
            return self.count * ((2 if engine.enable_prefix_caching else 1) + drafts)
        return self.count * (-(-min(self.window - 1 + in_flight, tokens) // self.block_size) + 1)


def groups(spec: Spec, engine: VllmEngine, model: Model | None, kv: Format, shared: Ranks) -> Groups | None:
    """None where all layers keep every token. Raises SpecError for what is not modelled of others."""
    if model is None or not model.unpaged():
        return None
    kinds: dict[Mixer, int] = {}
    for layer in model.stack:
        kinds[layer.mixer] = kinds.get(layer.mixer, 0) + layer.count
    full = [mixer for mixer in kinds if _is_full(mixer)]
    others = [mixer for mixer in kinds if not _is_full(mixer)]
    sizes = {mixer: mixer.cache_bytes(1, kv, shared.tensor) for mixer in kinds}
    if len(full) != 1 or len(others) != 1:
        raise _refused(spec, model, "layers of full attention and of one other kind are")
    token_bytes, other = sizes[full[0]], others[0]
    has_state = isinstance(other, GatedDelta)
    _check(spec, engine, model, has_state=has_state)
    fewest, most = sorted(kinds.values())
    layers = most if most < _MUCH_MORE * fewest else fewest
    if kinds[full[0]] > layers:
        raise _refused(spec, model, "more layers of full attention than of other kinds are not")
    block_size, window = engine.block_size, 0
    if has_state:
        block_size = _block_size(spec, engine, sizes[other], token_bytes)
    else:
        assert isinstance(other, GroupedAttention)
        if other.window is None or sizes[other] != token_bytes:
            raise _refused(spec, model, "windows whose tokens are of the size of the others' are")
        window = other.window
    return Groups(
        layers=layers,
        token_bytes=token_bytes,
        count=-(-kinds[other] // layers),
        window=window,
        has_state=has_state,
        come_first=not _is_full(model.stack[0].mixer),
        block_size=block_size,
    )


def _is_full(mixer: Mixer) -> bool:
    return isinstance(mixer, LatentAttention) or (isinstance(mixer, GroupedAttention) and mixer.window is None)


def _check(spec: Spec, engine: VllmEngine, model: Model, *, has_state: bool) -> None:
    problem, beside = spec.source.problem, f"beside {' and '.join(model.unpaged())}"
    sizes = {
        ("engine", "kv_offloading_size"): engine.kv_offloading_size,
        ("tiers", "host", "blocks"): spec.tiers.host.blocks,
    }
    for path, size in sizes.items():
        if size is not None:
            raise problem(path, f"not yet modelled {beside}", found=f"{size:g}", wanted="it left out")
    if not engine.enable_prefix_caching:
        return
    if engine.version != "0.32":
        raise problem(
            ("engine", "enable_prefix_caching"),
            f"prefix caching {beside} is modelled of vLLM 0.32",
            found="true",
            wanted="false, or version 0.32",
        )
    if has_state and not engine.enable_chunked_prefill:
        raise problem(
            ("engine", "enable_chunked_prefill"),
            f"vLLM's prefix caching {beside} needs it",
            found="false",
            wanted="true, or enable_prefix_caching: false",
        )
    speculative = engine.speculative
    if speculative is not None and (has_state or speculative.has_head):
        raise problem(
            ("engine", "speculative"),
            f"not yet modelled with prefix caching {beside}",
            found=speculative.method,
            wanted="enable_prefix_caching: false, or none" if has_state else "enable_prefix_caching: false, or ngram",
        )


def _refused(spec: Spec, model: Model, rule: str) -> Exception:
    return spec.source.problem(
        ("model",), f"its cache under vLLM is not yet simulated: {rule}", found=model.name, wanted="another, or SGLang"
    )


def _block_size(spec: Spec, engine: VllmEngine, state: int, token: int) -> int:
    """A block of full attention is at least as large as a state, which is padded to it. Raises SpecError where another
    size was asked for."""
    least = -(-state // (_KERNEL_TOKENS * token)) * _KERNEL_TOKENS
    if engine.block_size >= least:
        return engine.block_size
    if "block_size" in engine.model_fields_set:
        raise spec.source.problem(
            ("engine", "block_size"),
            "vLLM raises it until a block holds the state of a layer",
            found=str(engine.block_size),
            wanted=f"{least}, or none",
        )
    return least
