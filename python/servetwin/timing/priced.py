"""Single operators of a model on a GPU: seconds, and how well they are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

from ..catalog import GPUS, Gpu
from ..catalog.formats import Format
from ..catalog.layers import Experts, GatedDelta
from .operators import (
    Load,
    all_gather,
    all_reduce,
    attention_kind,
    basis,
    combine,
    convolution,
    decode_attention,
    decode_module,
    delta_rule,
    dispatch,
    experts,
    gemm,
    operator_curve,
    prefill_attention,
    prompt_module,
)
from .operators.fitted import kinds
from .operators.module import Module

KERNEL_S = 2e-6
"""A small kernel inside a CUDA graph, at least: an assumption, of the order of an empty kernel's."""

STREAM_EFFICIENCY = 0.8
"""Of the memory's rate, reached by kernels that only read and write: an assumption, AIConfigurator's as well."""

ASSUMED_EFFICIENCY = 0.6
"""Of the roofline, where nothing was measured: an assumption."""

ASSUMED_ERROR = 0.5
"""Of such a time, and of the small kernels: an assumption."""

LOW_LATENCY_TOKENS = 256
"""Up to so many tokens of a rank DeepEP's kernels for low latency were measured."""


@dataclass(frozen=True)
class Cost:
    """Seconds, how far off they may be, and how far the shape lies from what was measured."""

    seconds: float = 0.0
    error_s: float = 0.0
    distance: float = 0.0
    """In natural logarithms; 0 inside."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.error_s + other.error_s, max(self.distance, other.distance))

    def __mul__(self, count: float) -> Cost:
        return Cost(count * self.seconds, count * self.error_s, self.distance)

    def beside(self, other: Cost) -> Cost:
        """Both at once: as long as the longer one."""
        longer = self if self.seconds >= other.seconds else other
        return Cost(longer.seconds, longer.error_s, max(self.distance, other.distance))

    def beyond(self, other: Cost) -> Cost:
        """What this takes more than `other`, which is a part of it."""
        return Cost(max(self.seconds - other.seconds, 0.0), self.error_s, self.distance)


@dataclass(frozen=True)
class Priced:
    """Operators on `gpu`, by the curves of `like`: itself, a relative, or nobody."""

    gpu: Gpu
    like: str | None

    @classmethod
    def on(cls, gpu: Gpu) -> Priced:
        return cls(gpu, basis(gpu.name))

    def gemm(self, stored: Format, m: int, n: int, k: int) -> Cost:
        """m × k activations times k × n weights."""
        return self._cost("gemm", stored.name, lambda gpu: gemm(gpu, stored, m, n, k))

    def experts(
        self, kind: str, stored: Format, hidden: int, mlp: Experts, inner: int, ranks: int, tokens: int, skew: float
    ) -> Cost:
        """Of `tokens` tokens of all ranks together, on the fullest of `ranks`; `kind` as `experts_kind` has it."""
        return self._cost("experts", kind, lambda gpu: experts(gpu, stored, hidden, mlp, inner, ranks, tokens, skew))

    def prefill_attention(
        self, rows: int, tokens: int, heads: int, kv_heads: int, dim: int, kv: Format, window: int | None
    ) -> Cost:
        return self._cost(
            "prefill_attention",
            attention_kind(window),
            lambda gpu: prefill_attention(gpu, rows, tokens, heads, kv_heads, dim, kv, window),
        )

    def decode_attention(
        self, rows: int, context: int, heads: int, kv_heads: int, dim: int, kv: Format, window: int | None
    ) -> Cost:
        return self._cost(
            "decode_attention",
            attention_kind(window),
            lambda gpu: decode_attention(gpu, rows, context, heads, kv_heads, dim, kv, window),
        )

    def prompt_module(
        self, module: Module, hidden: int, stored: Format, kv: Format, rows: int, tokens: int, past: int
    ) -> Cost:
        return self._cost(
            f"{module.family}_prompt",
            stored.name,
            lambda gpu: prompt_module(gpu, module, hidden, stored, kv, rows, tokens, past),
        )

    def decode_module(self, module: Module, hidden: int, stored: Format, kv: Format, rows: int, context: int) -> Cost:
        return self._cost(
            f"{module.family}_decode",
            stored.name,
            lambda gpu: decode_module(gpu, module, hidden, stored, kv, rows, context),
        )

    def delta(self, delta: GatedDelta, when: str, rows: int, tokens: int) -> Cost:
        """Convolution and rule; `when`: prompt or decode."""
        return self._cost(
            "gated_delta", f"{when}_convolution", lambda gpu: convolution(gpu, delta, rows, tokens)
        ) + self._cost("gated_delta", f"{when}_rule", lambda gpu: delta_rule(gpu, delta, rows, tokens))

    def all_reduce(self, ranks: int, size: int) -> Cost:
        """Of `size` bytes on each of `ranks` GPUs."""
        if ranks == 1:
            return Cost()
        measured = self._ranks("all_reduce", "", ranks)
        return self._cost("all_reduce", str(measured), lambda gpu: all_reduce(gpu, ranks, size), log(ranks / measured))

    def gather(self, kind: str, ranks: int, size: int) -> Cost:
        """`kind`: all_gather, reduce_scatter or all_to_all of `size` bytes in all."""
        if ranks == 1:
            return Cost()
        measured = self._ranks("collective", f"{kind}_", ranks)
        return self._cost(
            "collective", f"{kind}_{measured}", lambda gpu: all_gather(gpu, ranks, size), log(ranks / measured)
        )

    def deepep(self, ranks: int, tokens: int, hidden: int, active: int) -> Cost:
        """Of `tokens` tokens of each of `ranks` ranks: dispatch and combine, by the kernels for so many tokens."""
        mode = "low_latency" if tokens <= LOW_LATENCY_TOKENS else "normal"
        there = self._ranks("collective", f"{mode}_dispatch_", ranks)
        back = self._ranks("collective", f"{mode}_combine_", ranks)
        return self._cost(
            "collective",
            f"{mode}_dispatch_{there}",
            lambda gpu: dispatch(gpu, ranks, tokens, hidden, active),
            log(ranks / there),
        ) + self._cost(
            "collective",
            f"{mode}_combine_{back}",
            lambda gpu: combine(gpu, ranks, tokens, hidden, active),
            log(ranks / back),
        )

    def stream(self, moved: int, kernels: int) -> Cost:
        """`kernels` kernels that read and write `moved` bytes."""
        seconds = moved / (self.gpu.memory_bytes_per_s * STREAM_EFFICIENCY) + kernels * KERNEL_S
        return Cost(seconds, ASSUMED_ERROR * seconds)

    def _ranks(self, operator: str, prefix: str, ranks: int) -> int:
        """The measured number of ranks that is closest: the same, or the largest below."""
        found = kinds(operator, self.like) if self.like else []
        counts = [int(kind.removeprefix(prefix)) for kind in found if kind.removeprefix(prefix).isdigit()]
        return max((count for count in counts if count <= ranks), default=min(counts, default=ranks))

    def _cost(self, operator: str, kind: str, load: Callable[[Gpu], Load], distance: float = 0.0) -> Cost:
        own = load(self.gpu)
        curve = None if self.like is None else operator_curve(operator, kind, self.like)
        if curve is None or self.like is None:
            seconds = own.roofline_s / ASSUMED_EFFICIENCY + KERNEL_S
            return Cost(seconds, ASSUMED_ERROR * seconds)
        like = own if self.like == self.gpu.name else load(GPUS[self.like])
        seconds = curve.seconds_like(own, like)
        return Cost(seconds, curve.error * seconds, max(curve.distance(like), abs(distance)))
