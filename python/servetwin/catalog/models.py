"""A model, and what follows from its sizes: parameters, bytes, arithmetic, cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .formats import BF16, Format
from .layers import (
    CompressedAttention,
    Dense,
    Experts,
    GatedDelta,
    GroupedAttention,
    LatentAttention,
    Layer,
    Matrix,
    Mixer,
    Part,
)

QUANTISED_PARTS = (Part.ATTENTION, Part.MLP, Part.SHARED, Part.EXPERTS)
"""Those that checkpoints may hold in fewer bits."""


@dataclass(frozen=True)
class Stored:
    """In which format a checkpoint holds each part, and the cache if it says so; all other parts are in bfloat16."""

    attention: Format = BF16
    mlp: Format = BF16
    shared_experts: Format = BF16
    experts: Format = BF16
    kv: Format | None = None

    @classmethod
    def alike(cls, weights: Format, *, experts: Format | None = None, kv: Format | None = None) -> Stored:
        """All matrices in one format, the routed experts perhaps in another."""
        return cls(weights, weights, weights, experts or weights, kv)

    def with_weights(self, weights: Format) -> Stored:
        """All matrices in another format."""
        return Stored.alike(weights, kv=self.kv)

    def with_experts(self, experts: Format) -> Stored:
        return replace(self, experts=experts)

    def of(self, part: Part) -> Format:
        if part in QUANTISED_PARTS:
            return getattr(self, part.value)  # type: ignore[no-any-return]
        return BF16

    @property
    def quantised(self) -> bool:
        return any(self.of(part) != BF16 for part in QUANTISED_PARTS)


@dataclass(frozen=True)
class Model:
    """The sizes that memory and time depend on."""

    name: str
    hidden: int
    vocab: int
    max_positions: int
    stack: tuple[Layer, ...]
    tied_embeddings: bool = False
    stored: Stored = Stored()
    mtp: tuple[Layer, ...] = ()
    """Layers for multi-token prediction, each with a projection of two hidden states to one; loaded only for it."""
    hyper_connections: int = 0
    """Residual streams, mixed before and after each half of a layer (DeepSeek V4's mHC)."""
    left_out: tuple[str, ...] = ()
    """Of the checkpoint: parts that nothing here counts, such as a vision tower."""
    architecture: str = field(default="", compare=False)
    """As its config.json names it, where engines keep its cache in another way for that."""

    @property
    def layers(self) -> int:
        return sum(layer.count for layer in self.stack)

    @property
    def mixer(self) -> Mixer:
        """Of its first layers."""
        return self.stack[0].mixer

    @property
    def heads(self) -> int:
        """Attention heads that ranks share."""
        return min(layer.mixer.heads for layer in self.stack)

    @property
    def kv_heads(self) -> int:
        """Key-value heads that ranks share; beyond that many ranks, they are held more than once."""
        return min(layer.mixer.kv_heads for layer in self.stack)

    def recurrent(self) -> list[str]:
        """Its layers that keep a state instead of tokens."""
        return ["gated delta layers" for layer in self.stack if isinstance(layer.mixer, GatedDelta)][:1]

    def compressed(self) -> list[str]:
        """Its layers that keep entries for several tokens."""
        return ["compressed attention" for layer in self.stack if isinstance(layer.mixer, CompressedAttention)][:1]

    def unpaged(self) -> list[str]:
        """What of its cache does not fit into blocks that hold the same tokens of every layer."""
        found = self.recurrent() + self.compressed()
        windows = [layer for layer in self.stack if isinstance(layer.mixer, GroupedAttention) and layer.mixer.window]
        return list(dict.fromkeys([*found, *(["sliding-window attention"] if windows else [])]))

    def beyond_roofline(self) -> list[str]:
        """What it has that a roofline over dense layers with grouped-query attention does not price."""
        found = ["latent attention" for layer in self.stack if isinstance(layer.mixer, LatentAttention)]
        found += ["sparse attention" for layer in self.stack if getattr(layer.mixer, "indexer", None)]
        found += ["mixture of experts"] if self.has_experts else []
        mixed = {self.stored.of(part) for part in self.part_parameters() if part in QUANTISED_PARTS}
        found += ["weights in several formats"] if len(mixed) > 1 else []
        return list(dict.fromkeys([*self.unpaged(), *found]))

    def layer_matrices(self) -> Iterator[tuple[int, Matrix]]:
        """Each matrix of the layers, with how many layers have it."""
        for layer in self.stack:
            for matrix in layer.matrices(self.hidden):
                yield layer.count, matrix
        if self.hyper_connections:
            yield self.layers, self._mixing()

    def matrices(self) -> Iterator[tuple[int, Matrix]]:
        """All of them; embeddings that are tied are there once, as the head."""
        yield from self.layer_matrices()
        yield 1, self.head
        if not self.tied_embeddings:
            yield 1, replace(self.head, part=Part.EMBEDDING, active=0)

    @property
    def head(self) -> Matrix:
        return Matrix(Part.HEAD, self.hidden, self.vocab, self.vocab)

    def _mixing(self) -> Matrix:
        streams = self.hyper_connections
        return Matrix(Part.ROUTER, streams * self.hidden, 2 * (2 + streams) * streams, 1)

    @property
    def parameters(self) -> int:
        return sum(count * matrix.elements for count, matrix in self.matrices())

    @property
    def active_parameters(self) -> int:
        """That a token is multiplied with: without the embedding, which is looked up."""
        return sum(count * matrix.active_elements for count, matrix in self.matrices())

    @property
    def mtp_parameters(self) -> int:
        own = sum(layer.count * sum(one.elements for one in layer.matrices(self.hidden)) for layer in self.mtp)
        return own + 2 * self.hidden * self.hidden * sum(layer.count for layer in self.mtp)

    def part_parameters(self) -> dict[Part, int]:
        found = dict.fromkeys(Part, 0)
        for count, matrix in self.matrices():
            found[matrix.part] += count * matrix.elements
        return {part: elements for part, elements in found.items() if elements}

    @property
    def has_experts(self) -> bool:
        return any(isinstance(layer.mlp, Experts) for layer in self.stack)

    def part_bytes(self, stored: Stored | None = None, tensor: int = 1) -> dict[Part, int]:
        """On one of `tensor` ranks."""
        formats = stored or self.stored
        found = dict.fromkeys(self.part_parameters(), 0)
        for count, matrix in self.matrices():
            found[matrix.part] += count * formats.of(matrix.part).size(matrix.rank_elements(tensor))
        return found

    def weight_bytes(self, stored: Stored | None = None, tensor: int = 1) -> int:
        """On one of `tensor` ranks."""
        return sum(self.part_bytes(stored, tensor).values())

    def token_weight_bytes(self, stored: Stored | None = None) -> int:
        """Read to compute one token alone: of the experts, only those it uses; of the embedding, nothing."""
        formats = stored or self.stored
        return sum(count * formats.of(matrix.part).size(matrix.active_elements) for count, matrix in self.matrices())

    def flops(self, context: int = 0) -> int:
        """To compute one token, with attention to `context` tokens."""
        attention = sum(layer.count * layer.mixer.flops(context) for layer in self.stack)
        return 2 * self.active_parameters + attention

    def cache_bytes(self, context: int, kv: Format, tensor: int = 1) -> int:
        """That a request with `context` tokens keeps on one rank, states of fixed size included."""
        return sum(layer.count * layer.mixer.cache_bytes(context, kv, tensor) for layer in self.stack)

    def read_bytes(self, context: int, kv: Format) -> int:
        """Of the cache, to compute one token."""
        return sum(layer.count * layer.mixer.read_bytes(context, kv) for layer in self.stack)

    def kinds(self) -> list[str]:
        """Its layers in words."""
        return [f"{layer.count} × {_mixer(layer.mixer)}, {_mlp(layer.mlp)}" for layer in self.stack]


def _mixer(mixer: Mixer) -> str:
    if isinstance(mixer, GroupedAttention):
        window = "" if mixer.window is None else f", window {mixer.window:,}"
        return f"attention ({mixer.heads} heads, {mixer.kv_heads} key-value, {mixer.head_dim}{window})"
    if isinstance(mixer, GatedDelta):
        return f"gated delta ({mixer.value_heads} heads, state {mixer.key_dim} × {mixer.value_dim})"
    index = ""
    if mixer.indexer is not None:
        shared = " of an earlier layer" if mixer.indexer.shared else ""
        index = f", top {mixer.indexer.topk:,}{shared}"
    if isinstance(mixer, CompressedAttention):
        ratio = f", {mixer.ratio} in one" if mixer.ratio else ""
        return f"compressed attention ({mixer.heads} heads, {mixer.head_dim}, window {mixer.window}{ratio}{index})"
    return f"latent attention ({mixer.heads} heads, latent {mixer.kv_rank} + {mixer.rope_dim}{index})"


def _mlp(mlp: Dense | Experts) -> str:
    if isinstance(mlp, Dense):
        return f"MLP {mlp.intermediate:,}"
    shared = f" + shared {mlp.shared_intermediate:,}" if mlp.shared_intermediate else ""
    return f"{mlp.count} experts of {mlp.intermediate:,}, {mlp.active} used{shared}"
