"""What fits into a GPU: weights, a reserve, and the KV cache in what is left."""

from __future__ import annotations

from dataclasses import dataclass

from ..units import GIB
from .formats import BF16, FP8
from .gpus import Gpu
from .layers import Dense
from .models import Model, Stored

RUNTIME_BYTES = int(0.68 * GIB)
"""CUDA context, CUDA graphs and workspaces of one rank.

The rest that makes the block count of one recorded run come out: vLLM 0.19.0, Llama 3.1 8B in bfloat16 on an
RTX 4090, gpu_memory_utilization 0.9, budget 2,048, 256 sequences: 2,588 blocks of 16 tokens.
"""


@dataclass(frozen=True)
class Memory:
    """One rank's memory, in bytes."""

    total: int
    usable: int
    weights: int
    activations: int
    runtime: int
    kv_per_token: int
    kv_share: float = 1.0
    """Of what is left, this much goes to the cache."""

    @property
    def kv(self) -> int:
        """Left for the cache; negative if even the weights do not fit."""
        return int((self.usable - self.weights - self.activations - self.runtime) * self.kv_share)

    def blocks(self, block_size: int) -> int:
        return max(self.kv, 0) // (self.kv_per_token * block_size)

    def arithmetic(self) -> str:
        """The sum, for people."""
        reserved = {"activations": self.activations, "runtime": self.runtime}
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
    tensor: int,
    utilization: float,
    weight_bytes: int,
    kv_bytes: int,
    budget_tokens: int,
    sequences: int,
    kv_share: float = 1.0,
) -> Memory:
    """One rank's memory when `tensor` ranks share a replica.

    `weight_bytes` of a matrix element and `kv_bytes` of a cached one. The reserve for activations is that of vLLM's
    profiling pass: `budget_tokens` rows of the MLP's gate, up and product, of four hidden states, and `sequences`
    rows of logits in float32, twice (logits and probabilities).
    """
    widest = max(layer.mlp.intermediate for layer in model.stack if isinstance(layer.mlp, Dense))
    activations = 2 * budget_tokens * (3 * widest // tensor + 4 * model.hidden)
    logits = 2 * 4 * sequences * model.vocab
    return Memory(
        total=gpu.memory_bytes,
        usable=int(gpu.memory_bytes * utilization),
        weights=weight_bytes_per_rank(model, tensor=tensor, weight_bytes=weight_bytes),
        activations=activations + logits,
        runtime=RUNTIME_BYTES,
        kv_per_token=kv_bytes_per_token(model, tensor=tensor, kv_bytes=kv_bytes),
        kv_share=kv_share,
    )


def weight_bytes_per_rank(model: Model, *, tensor: int, weight_bytes: int) -> int:
    """Matrices of `weight_bytes` an element; embeddings stay in 2 bytes."""
    return model.weight_bytes(Stored.alike(FP8 if weight_bytes == 1 else BF16), tensor)


def kv_bytes_per_token(model: Model, *, tensor: int, kv_bytes: int) -> int:
    """On one rank; with more ranks than key-value heads, heads are stored more than once."""
    return model.cache_bytes(1, FP8 if kv_bytes == 1 else BF16, tensor)


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"
