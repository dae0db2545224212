"""What fits into a GPU: weights, a reserve, and the KV cache in what is left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..units import GIB
from .formats import Format
from .gpus import Gpu
from .layers import Dense, Experts, LatentAttention, Mixer, Part
from .models import Model, Stored
from .parallel import Ranks

CONTEXT_BYTES = int(0.12 * GIB)
"""CUDA context and libraries of one rank, beyond what is there before the engine starts.

The rest of a public log without CUDA graphs: vLLM 0.15.1, Llama 3.1 8B on an A100 of 40 GB, enforce_eager.
"""

GRAPH_BYTES = int(0.56 * GIB)
"""CUDA graphs and workspaces of one rank.

The rest that makes the block count of one recorded run come out: vLLM 0.19.0, Llama 3.1 8B in bfloat16 on an
RTX 4090, gpu_memory_utilization 0.9, budget 2,048, 256 sequences: 2,588 blocks of 16 tokens.
"""

COMMUNICATION_MIB = {1: 0, 2: 342}
"""Buffers of NCCL and of the engine's own all-reduce, by ranks; beyond, `MORE_RANKS_MIB`. AIConfigurator 0.12's."""

MORE_RANKS_MIB = 392

LATENT_WORKSPACE_TOKENS = 65_536
"""Of the cached context, so much is turned into keys and values at once (vLLM's MLACommonMetadataBuilder)."""


@dataclass(frozen=True)
class Memory:
    """One rank's memory, in bytes."""

    total: int
    usable: int
    weights: int
    activations: int
    runtime: int
    """Context, CUDA graphs and communication buffers."""
    kv_per_token: int
    kv_share: float = 1.0
    """Of what is left, this much goes to the cache."""
    states: int = 0
    """Of requests, whatever their length."""

    @property
    def kv(self) -> int:
        """Left for the cache; negative if even the weights do not fit."""
        return int((self.usable - self.weights - self.activations - self.runtime - self.states) * self.kv_share)

    def blocks(self, block_size: int) -> int:
        return max(self.kv, 0) // (self.kv_per_token * block_size)

    def arithmetic(self) -> str:
        """The sum, for people."""
        reserved = {"activations": self.activations, "runtime": self.runtime, "states": self.states}
        parts = (
            f"{_gib(self.usable)} usable of {_gib(self.total)}",
            f"{_gib(self.weights)} weights",
            *(f"{_gib(size)} {name}" for name, size in reserved.items() if size),
        )
        left = " − ".join(parts)
        if self.kv_share < 1:
            left = f"({left}) · {self.kv_share:g}"
        return f"{left} = {_gib(self.kv)} for the KV cache, at {self.kv_per_token:,} bytes a token"


def memory(
    model: Model,
    gpu: Gpu,
    *,
    ranks: Ranks,
    utilization: float,
    stored: Stored,
    kv: Format,
    budget_tokens: int,
    sequences: int,
    kv_share: float = 1.0,
) -> Memory:
    """The memory of one of the `ranks` of a replica; weights as `stored`, the cache in `kv`."""
    return Memory(
        total=gpu.memory_bytes,
        usable=int(gpu.memory_bytes * utilization),
        weights=weight_bytes(model, stored, ranks),
        activations=activation_bytes(model, ranks=ranks, budget_tokens=budget_tokens, sequences=sequences),
        runtime=CONTEXT_BYTES + GRAPH_BYTES + communication_bytes(ranks.stage * ranks.pipeline),
        kv_per_token=cache_bytes(model, kv, ranks),
        kv_share=kv_share,
    )


@lru_cache(maxsize=256)
def weight_bytes(model: Model, stored: Stored, ranks: Ranks) -> int:
    """On the GPU that holds most: experts are shared by all ranks of a stage, all else by those of one data rank.

    Of pipeline stages, the one with most layers; embedding and head are at either end.
    """

    def size(part: Part, count: int) -> int:
        return sum(
            layers * stored.of(part).size(matrix.rank_elements(count))
            for layers, matrix in matrices
            if matrix.part is part
        )

    matrices = list(model.layer_matrices())
    inner = sum(size(part, ranks.stage if part is Part.EXPERTS else ranks.tensor) for part in Part)
    if ranks.pipeline == 1:
        return inner + model.weight_bytes(stored, ranks.tensor) - sum(size(part, ranks.tensor) for part in Part)
    return _of_stage(inner, model, ranks) + stored.of(Part.HEAD).size(model.head.rank_elements(ranks.tensor))


def cache_bytes(model: Model, kv: Format, ranks: Ranks) -> int:
    """Of one token, on one GPU: of pipeline stages, the one with most layers."""
    return _of_stage(model.cache_bytes(1, kv, ranks.tensor) - model.cache_bytes(0, kv, ranks.tensor), model, ranks)


def state_bytes(model: Model, kv: Format, ranks: Ranks) -> int:
    """As `cache_bytes`, of a request without a token: the states of gated delta layers."""
    return _of_stage(model.cache_bytes(0, kv, ranks.tensor), model, ranks)


def _of_stage(size: int, model: Model, ranks: Ranks) -> int:
    most = -(-model.layers // ranks.pipeline)
    return -(-size * most // model.layers)


def activation_bytes(model: Model, *, ranks: Ranks, budget_tokens: int, sequences: int) -> int:
    """The peak of vLLM's profiling pass on one rank.

    For each of `budget_tokens` four hidden states and what its widest MLP holds at once, in 2 bytes; where keys and
    values are made from a latent, a workspace of them; and for `sequences` rows of logits in float32, twice (logits
    and probabilities).
    """
    widest = max(_mlp_numbers(layer.mlp, model.hidden, ranks) for layer in model.stack)
    latent = max(
        (_latent_workspace(layer.mixer, model.max_positions, ranks.tensor) for layer in model.stack), default=0
    )
    logits = 2 * 4 * sequences * model.vocab
    return 2 * budget_tokens * (widest + 4 * model.hidden) + latent + logits


def _mlp_numbers(mlp: Dense | Experts, hidden: int, ranks: Ranks) -> int:
    """Of one token: gate, up and product; of each of its experts, the larger of input pair and output beside it.

    A rank computes its share of the experts of all data ranks' tokens.
    """
    if isinstance(mlp, Dense):
        return 3 * mlp.intermediate // ranks.tensor
    inner = mlp.intermediate // ranks.expert_slices
    routed = mlp.active * (max(2 * inner, hidden) + inner) * ranks.data // ranks.expert
    return routed + 3 * mlp.shared_intermediate // ranks.tensor


def _latent_workspace(mixer: Mixer, positions: int, tensor: int) -> int:
    # Sparse attention reads the latent itself.
    if not isinstance(mixer, LatentAttention) or mixer.indexer is not None:
        return 0
    tokens = min(8 * positions, LATENT_WORKSPACE_TOKENS)
    return 2 * tokens * (mixer.heads // tensor * (mixer.nope_dim + mixer.value_dim) + mixer.kv_rank + mixer.rope_dim)


def communication_bytes(tensor: int) -> int:
    return COMMUNICATION_MIB.get(tensor, MORE_RANKS_MIB) * 2**20


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"
