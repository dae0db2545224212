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
    """Beside one group, or more, of full attention: here one, since the fewest layers make up a group."""

    layers: int
    """Of each group."""
    token_bytes: int
    """Of one token in one layer of full attention, on one rank."""
    window: int
    windows: int
    """Groups of layers that look back a window."""
    states: int
    """Blocks of a request for the groups with a state."""

    def describe(self) -> dict[str, int]:
        """As the core reads it."""
        return {"window": self.window, "windows": self.windows, "states": self.states}

    def most(self, block_size: int, tokens: int, budget: int) -> int:
        """Blocks of the other groups that a request of `tokens` tokens holds at most (max_memory_usage_bytes)."""
        window = -(-(self.window - 1 + budget) // block_size) + 1
        return self.windows * min(window, -(-tokens // block_size)) + self.states


def groups(spec: Spec, engine: VllmEngine, model: Model | None, kv: Format, shared: Ranks) -> Groups | None:
    """None where all layers keep every token. Raises SpecError for what is not modelled of others."""
    if model is None or not model.unpaged():
        return None
    _check(spec, engine, model)
    kinds: dict[Mixer, int] = {}
    for layer in model.stack:
        kinds[layer.mixer] = kinds.get(layer.mixer, 0) + layer.count
    full = [mixer for mixer in kinds if _is_full(mixer)]
    others = [mixer for mixer in kinds if not _is_full(mixer)]
    sizes = {mixer: mixer.cache_bytes(1, kv, shared.tensor) for mixer in kinds}
    if len(full) != 1 or len(others) != 1:
        raise _refused(spec, model, "layers of full attention and of one other kind are")
    token_bytes, other = sizes[full[0]], others[0]
    fewest, most = sorted(kinds.values())
    layers = most if most < _MUCH_MORE * fewest else fewest
    if kinds[full[0]] > layers:
        raise _refused(spec, model, "more layers of full attention than of other kinds are not")
    count = -(-kinds[other] // layers)
    if isinstance(other, GatedDelta):
        _check_block(spec, engine, sizes[other], token_bytes)
        drafts = engine.speculative.num_speculative_tokens if engine.speculative is not None else 0
        return Groups(layers, token_bytes, 1, 0, count * (1 + drafts))
    assert isinstance(other, GroupedAttention)
    if other.window is None or sizes[other] != token_bytes:
        raise _refused(spec, model, "windows whose tokens are of the size of the others' are")
    return Groups(layers, token_bytes, other.window, count, 0)


def _is_full(mixer: Mixer) -> bool:
    return isinstance(mixer, LatentAttention) or (isinstance(mixer, GroupedAttention) and mixer.window is None)


def _check(spec: Spec, engine: VllmEngine, model: Model) -> None:
    if engine.enable_prefix_caching:
        raise spec.source.problem(
            ("engine", "enable_prefix_caching"),
            f"vLLM's prefix caching is not yet modelled beside {' and '.join(model.unpaged())}",
            found="true",
            wanted="false, or SGLang for models with windows",
        )
    if engine.kv_offloading_size is not None:
        raise spec.source.problem(
            ("engine", "kv_offloading_size"), f"not yet modelled beside {' and '.join(model.unpaged())}"
        )


def _refused(spec: Spec, model: Model, rule: str) -> Exception:
    return spec.source.problem(
        ("model",), f"its cache under vLLM is not yet simulated: {rule}", found=model.name, wanted="another, or SGLang"
    )


def _check_block(spec: Spec, engine: VllmEngine, state: int, token: int) -> None:
    """A block of full attention is at least as large as a state, which is padded to it."""
    least = -(-state // (_KERNEL_TOKENS * token)) * _KERNEL_TOKENS
    if engine.block_size < least:
        raise spec.source.problem(
            ("engine", "block_size"),
            "vLLM raises it until a block holds the state of a layer",
            found=str(engine.block_size),
            wanted=f"{least}",
        )
