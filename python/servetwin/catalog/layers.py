"""What a model's layers are made of: matrices, and what they keep of each token.

Everything else (parameters, bytes, arithmetic, cache) is computed from these. Norms, biases and convolutions are
left out: together less than 0.1 % of any model here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from .formats import Format


class Part(StrEnum):
    """Of a model's weights: those that checkpoints quantise together."""

    ATTENTION = "attention"
    MLP = "mlp"
    SHARED = "shared_experts"
    EXPERTS = "experts"
    ROUTER = "router"
    EMBEDDING = "embedding"
    HEAD = "head"


@dataclass(frozen=True)
class Matrix:
    """Weights of `inputs` × `outputs`, `copies` of them, of which a token uses `active`."""

    part: Part
    inputs: int
    outputs: int
    shares: int
    """Over how many ranks one copy can be split; further ranks hold the same again. 1: every rank holds all."""
    copies: int = 1
    active: int = 1

    @property
    def elements(self) -> int:
        return self.copies * self.inputs * self.outputs

    @property
    def active_elements(self) -> int:
        return self.active * self.inputs * self.outputs

    def rank_elements(self, tensor: int) -> int:
        """Held by one of `tensor` ranks."""
        return -(-self.elements // min(tensor, self.shares))


@dataclass(frozen=True)
class Indexer:
    """Chooses the `topk` tokens that sparse attention reads: DeepSeek's lightning indexer."""

    heads: int
    head_dim: int
    topk: int
    shared: bool = False
    """Takes the choice of an earlier layer: no weights, keys or scores of its own."""

    def key_bytes(self) -> int:
        """Of one token: FP8, with a float32 scale for 128."""
        return 0 if self.shared else self.head_dim + 4 * -(-self.head_dim // 128)

    def flops(self, keys: int) -> int:
        return 0 if self.shared else 2 * self.heads * self.head_dim * keys


@dataclass(frozen=True)
class GroupedAttention:
    """Multi-head attention with shared key-value heads; `window` limits how far back it looks."""

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: int | None = None
    gated: bool = False
    """The query projection also makes a gate for the output (Qwen3.5)."""

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        queries = self.heads * self.head_dim * (2 if self.gated else 1)
        return (
            Matrix(Part.ATTENTION, hidden, queries, self.heads),
            Matrix(Part.ATTENTION, hidden, self.kv_heads * (self.head_dim + self.value_dim), self.kv_heads),
            Matrix(Part.ATTENTION, self.heads * self.value_dim, hidden, self.heads),
        )

    def seen(self, context: int) -> int:
        """Tokens that a new one attends to."""
        return context if self.window is None else min(context, self.window)

    def cache_bytes(self, context: int, kv: Format, tensor: int = 1) -> int:
        return self.seen(context) * kv.size(max(self.kv_heads // tensor, 1) * (self.head_dim + self.value_dim))

    def flops(self, context: int) -> int:
        """Of the attention of one new token to `context` tokens, projections apart."""
        return 2 * self.heads * (self.head_dim + self.value_dim) * self.seen(context)

    def read_bytes(self, context: int, kv: Format) -> int:
        return self.cache_bytes(context, kv)


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek V2 and V3), sparse with an indexer (V3.2)."""

    heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    indexer: Indexer | None = None

    @property
    def kv_heads(self) -> int:
        return 1

    @property
    def family(self) -> str:
        """The kernels that compute it."""
        return "latent" if self.indexer is None else "sparse"

    def shared(self, ranks: int) -> LatentAttention:
        """What one of `ranks` ranks has of it."""
        return replace(self, heads=self.heads // ranks)

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        query_dim = self.heads * (self.nope_dim + self.rope_dim)
        queries: tuple[Matrix, ...] = (Matrix(Part.ATTENTION, hidden, query_dim, self.heads),)
        if self.q_rank is not None:
            queries = (
                Matrix(Part.ATTENTION, hidden, self.q_rank, 1),
                Matrix(Part.ATTENTION, self.q_rank, query_dim, self.heads),
            )
        index: tuple[Matrix, ...] = ()
        if self.indexer is not None and not self.indexer.shared:
            index = (
                Matrix(Part.ATTENTION, self.q_rank or hidden, self.indexer.heads * self.indexer.head_dim, 1),
                Matrix(Part.ATTENTION, hidden, self.indexer.head_dim + self.indexer.heads, 1),
            )
        return (
            *queries,
            Matrix(Part.ATTENTION, hidden, self.kv_rank + self.rope_dim, 1),
            Matrix(Part.ATTENTION, self.kv_rank, self.heads * (self.nope_dim + self.value_dim), self.heads),
            Matrix(Part.ATTENTION, self.heads * self.value_dim, hidden, self.heads),
            *index,
        )

    def seen(self, context: int) -> int:
        return context if self.indexer is None else min(context, self.indexer.topk)

    def entry_bytes(self, kv: Format) -> int:
        """The latent and the rotary part of one token.

        Sparse attention in FP8 keeps the rotary part in 16 bits and a float32 scale for 128 (vLLM's `fp8_ds_mla`).
        """
        if self.indexer is not None and kv.name == "fp8":
            return self.kv_rank + 4 * -(-self.kv_rank // 128) + 2 * self.rope_dim
        return kv.size(self.kv_rank + self.rope_dim)

    def cache_bytes(self, context: int, kv: Format, tensor: int = 1) -> int:
        """The same on every rank: all heads read one latent."""
        index = 0 if self.indexer is None else self.indexer.key_bytes()
        return context * (self.entry_bytes(kv) + index)

    def flops(self, context: int) -> int:
        """As decoding computes it: on the latent, the projection of keys and values absorbed."""
        index = 0 if self.indexer is None else self.indexer.flops(context)
        return 2 * self.heads * (2 * self.kv_rank + self.rope_dim) * self.seen(context) + index

    def read_bytes(self, context: int, kv: Format) -> int:
        index = 0 if self.indexer is None else self.indexer.key_bytes()
        return self.seen(context) * self.entry_bytes(kv) + context * index


@dataclass(frozen=True)
class CompressedAttention:
    """DeepSeek V4: one key-value head, the last `window` tokens as they are, `ratio` earlier ones in each entry.

    With an indexer the new token reads `topk` compressed entries, else all. A ratio of 0 has the window only.
    """

    heads: int
    head_dim: int
    rope_dim: int
    q_rank: int
    o_groups: int
    o_rank: int
    window: int
    ratio: int
    indexer: Indexer | None = None

    @property
    def kv_heads(self) -> int:
        return 1

    @property
    def family(self) -> str:
        """The kernels that compute it: without entries, those of the fewest."""
        return "compressed_4" if self.ratio == 4 else "compressed_128"

    def shared(self, ranks: int) -> CompressedAttention:
        """What one of `ranks` ranks has of it."""
        return replace(self, heads=self.heads // ranks, o_groups=max(self.o_groups // ranks, 1))

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        width = self.heads * self.head_dim
        found = [
            Matrix(Part.ATTENTION, hidden, self.q_rank, 1),
            Matrix(Part.ATTENTION, self.q_rank, width, self.heads),
            Matrix(Part.ATTENTION, hidden, self.head_dim, 1),
            Matrix(Part.ATTENTION, width // self.o_groups, self.o_groups * self.o_rank, self.o_groups),
            Matrix(Part.ATTENTION, self.o_groups * self.o_rank, hidden, self.o_groups),
        ]
        # Values and gates; entries of ratio 4 overlap their neighbours and are made twice.
        twice = 2 if self.ratio == 4 else 1
        if self.ratio:
            found.append(Matrix(Part.ATTENTION, hidden, 2 * twice * self.head_dim, 1))
        if self.indexer is not None:
            found += [
                Matrix(Part.ATTENTION, self.q_rank, self.indexer.heads * self.indexer.head_dim, 1),
                Matrix(Part.ATTENTION, hidden, 2 * twice * self.indexer.head_dim + self.indexer.heads, 1),
            ]
        return tuple(found)

    def _entries(self, context: int) -> int:
        return context // self.ratio if self.ratio else 0

    def seen(self, context: int) -> int:
        compressed = self._entries(context)
        if self.indexer is not None:
            compressed = min(compressed, self.indexer.topk)
        return min(context, self.window) + compressed

    def entry_bytes(self, kv: Format) -> int:
        """In FP8 the rotary part stays in 16 bits, with a byte of scale for 64 of the rest, padded to 8."""
        if kv.name == "fp8":
            return self.head_dim - self.rope_dim + 2 * self.rope_dim + 8
        return kv.size(self.head_dim)

    def index_bytes(self, kv: Format) -> int:
        """Of the indexer's key of one entry."""
        if self.indexer is None:
            return 0
        return self.indexer.key_bytes() if kv.name == "fp8" else kv.size(self.indexer.head_dim)

    def cache_bytes(self, context: int, kv: Format, tensor: int = 1) -> int:
        """The same on every rank. The compressor's own state (< 1 MB a request) is left out."""
        entries = self._entries(context)
        return (min(context, self.window) + entries) * self.entry_bytes(kv) + entries * self.index_bytes(kv)

    def flops(self, context: int) -> int:
        index = 0 if self.indexer is None else self.indexer.flops(self._entries(context))
        return 4 * self.heads * self.head_dim * self.seen(context) + index

    def read_bytes(self, context: int, kv: Format) -> int:
        return self.seen(context) * self.entry_bytes(kv) + self._entries(context) * self.index_bytes(kv)


@dataclass(frozen=True)
class GatedDelta:
    """Linear attention with a gated delta rule (Qwen3-Next, Qwen3.5): a state of fixed size, whatever the context."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    convolution: int
    state: Format

    @property
    def heads(self) -> int:
        return self.value_heads

    @property
    def kv_heads(self) -> int:
        return self.key_heads

    @property
    def convolved(self) -> int:
        """Numbers of a token that the convolution goes over: queries, keys and values."""
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        values = self.value_heads * self.value_dim
        return (
            # Queries, keys, values and the output's gate; then decay and step of each head.
            Matrix(Part.ATTENTION, hidden, self.convolved + values, self.key_heads),
            Matrix(Part.ATTENTION, hidden, 2 * self.value_heads, self.key_heads),
            Matrix(Part.ATTENTION, values, hidden, self.key_heads),
        )

    def cache_bytes(self, context: int, kv: Format, tensor: int = 1) -> int:
        state = self.state.size(self.value_heads * self.key_dim * self.value_dim)
        return -(-(state + 2 * (self.convolution - 1) * self.convolved) // min(tensor, self.key_heads))

    def flops(self, context: int) -> int:
        """Decay, prediction, update and read-out of the state."""
        return 7 * self.value_heads * self.key_dim * self.value_dim

    def read_bytes(self, context: int, kv: Format) -> int:
        return self.cache_bytes(context, kv)


Mixer = GroupedAttention | LatentAttention | CompressedAttention | GatedDelta
"""How a layer looks at other tokens."""


@dataclass(frozen=True)
class Dense:
    """A gated MLP: gate, up and down."""

    intermediate: int

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        return (
            Matrix(Part.MLP, hidden, 2 * self.intermediate, self.intermediate),
            Matrix(Part.MLP, self.intermediate, hidden, self.intermediate),
        )


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: a router, `count` gated MLPs of which a token uses `active`, and perhaps a shared one."""

    count: int
    active: int
    intermediate: int
    shared_intermediate: int = 0

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        found = [
            Matrix(Part.ROUTER, hidden, self.count, 1),
            Matrix(Part.EXPERTS, hidden, 2 * self.intermediate, self.intermediate, self.count, self.active),
            Matrix(Part.EXPERTS, self.intermediate, hidden, self.intermediate, self.count, self.active),
        ]
        if self.shared_intermediate:
            found += [
                Matrix(Part.SHARED, hidden, 2 * self.shared_intermediate, self.shared_intermediate),
                Matrix(Part.SHARED, self.shared_intermediate, hidden, self.shared_intermediate),
            ]
        return tuple(found)


@dataclass(frozen=True)
class Layer:
    """`count` layers that are alike."""

    count: int
    mixer: Mixer
    mlp: Dense | Experts

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        """Of one of them."""
        return self.mixer.matrices(hidden) + self.mlp.matrices(hidden)


def stack(layers: Iterable[tuple[Mixer, Dense | Experts]]) -> tuple[Layer, ...]:
    """Layers that are alike counted together, in the order in which their kind first comes."""
    counts: dict[tuple[Mixer, Dense | Experts], int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + 1
    return tuple(Layer(count, mixer, mlp) for (mixer, mlp), count in counts.items())
