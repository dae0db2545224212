"""What a layer's mixer costs: its products for the tokens of a pass, its attention for decodes and for prompts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import sqrt

from ..catalog.formats import Format
from ..catalog.layers import GatedDelta, GroupedAttention, Matrix, Mixer
from .priced import Cost, Priced


@dataclass(frozen=True)
class Prompts:
    """Prompts that, `times` over, stand for those of a pass: as many tokens, as much work."""

    rows: int
    tokens: int
    past: int
    times: float = 1.0


def alike(tokens: int, work: int) -> Prompts:
    """For `tokens` new ones with Σ new·(2·past + new) = `work`: one prompt with as much past as that takes, or where
    the work is less than even without any, several short ones."""
    if work >= tokens**2:
        return Prompts(1, tokens, (work // tokens - tokens) // 2)
    length = max(round(work / tokens), 1)
    rows = max(round(tokens / length), 1)
    return Prompts(rows, length, 0, tokens / (rows * length))


@dataclass(frozen=True)
class MixerCost:
    """Of one layer on one of `tensor` ranks."""

    mixer: Mixer
    hidden: int
    stored: Format
    kv: Format
    tensor: int
    priced: Priced
    _known: dict[int, Cost] = field(default_factory=dict, repr=False, compare=False)

    def products(self, tokens: int) -> Cost:
        """All matrices, for each token of a pass, prompts' and decodes' alike. Asked for again and again."""
        if tokens not in self._known:
            self._known[tokens] = self._products(tokens)
        return self._known[tokens]

    def _products(self, tokens: int) -> Cost:
        mixer, hidden = self.mixer, self.hidden
        if isinstance(mixer, GroupedAttention):
            heads, keys = self._heads(mixer)
            queries = heads * mixer.head_dim * (2 if mixer.gated else 1)
            width = queries + keys * (mixer.head_dim + mixer.value_dim)
            return self.priced.gemm(self.stored, tokens, width, hidden) + self.priced.gemm(
                self.stored, tokens, hidden, heads * mixer.value_dim
            )
        return sum((self._product(matrix, tokens) for matrix in mixer.matrices(hidden)), Cost())

    def _product(self, matrix: Matrix, tokens: int) -> Cost:
        shared = min(self.tensor, matrix.shares)
        # A product with the hidden state as its result is split by its inputs, others by their outputs.
        if matrix.outputs == self.hidden and matrix.shares > 1:
            return self.priced.gemm(self.stored, tokens, matrix.outputs, max(matrix.inputs // shared, 1))
        return self.priced.gemm(self.stored, tokens, max(matrix.outputs // shared, 1), matrix.inputs)

    def _heads(self, mixer: GroupedAttention) -> tuple[int, int]:
        return mixer.heads // self.tensor, max(mixer.kv_heads // self.tensor, 1)

    def decode(self, rows: int, context: int) -> Cost:
        """Attention of `rows` requests, `context` tokens each."""
        mixer = self.mixer
        if isinstance(mixer, GroupedAttention):
            heads, keys = self._heads(mixer)
            return self.priced.decode_attention(rows, context, heads, keys, mixer.head_dim, self.kv, mixer.window)
        if isinstance(mixer, GatedDelta):
            return self.priced.delta(self._delta(mixer), "decode", rows, 1)
        whole = self.priced.decode_module(mixer.shared(self.tensor), self.hidden, self.stored, self.kv, rows, context)
        return whole.beyond(self.products(rows))

    def prompts(self, tokens: int, work: int) -> Cost:
        """Attention of prompts with `tokens` new tokens and Σ new·(2·past + new) = `work`."""
        mixer, some = self.mixer, alike(tokens, work)
        if isinstance(mixer, GatedDelta):
            return self.priced.delta(self._delta(mixer), "prompt", some.rows, some.tokens) * some.times
        if isinstance(mixer, GroupedAttention):
            return self._grouped_prompts(mixer, some, work)
        whole = self.priced.prompt_module(
            mixer.shared(self.tensor), self.hidden, self.stored, self.kv, some.rows, some.tokens, some.past
        )
        return (whole * some.times).beyond(self.products(tokens))

    def _grouped_prompts(self, mixer: GroupedAttention, some: Prompts, work: int) -> Cost:
        """What was measured has no past: one that has is as long as a prompt of as much work, its keys read once."""
        heads, keys = self._heads(mixer)
        shape = heads, keys, mixer.head_dim, self.kv, mixer.window
        if not some.past:
            return self.priced.prefill_attention(some.rows, some.tokens, *shape) * some.times
        if mixer.window is not None and some.past >= mixer.window:
            # A full band: as of the middle of a prompt much longer than the window.
            long = 8 * mixer.window
            return self.priced.prefill_attention(1, long, *shape) * (some.tokens / long)
        whole = round(sqrt(work))
        return self.priced.prefill_attention(1, whole, *shape)

    def _delta(self, mixer: GatedDelta) -> GatedDelta:
        shared = min(self.tensor, mixer.key_heads)
        return replace(mixer, key_heads=mixer.key_heads // shared, value_heads=mixer.value_heads // shared)
