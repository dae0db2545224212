"""A pass as the sum of its operators, each from a curve fitted to measured timings.

Per rank, for T = P + D tokens, N rows, C tokens of context and W = Σ new·(2·past + new) over prefill rows:

    pass = products(T) + head·N + decode·C + prompt·P + work·W + fixed

`products` is the sum over the layers of the four matrix products, two all-reduces and the small kernels, made convex:
the largest of the chords of its lower hull over the token counts in `_token_counts`. The attention of decodes is a
straight line in the context, fitted over the batches that the engine allows; that of prompts takes the time per unit
of work of one long prompt, and what a short one takes beyond it for each of its tokens. Not modelled: the staircase
of CUDA-graph sizes, launches outside graphs, the overlap of all-reduces with arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from ..catalog import GPUS, Gpu, Model, Stored
from ..catalog.formats import BF16, Format
from ..catalog.layers import Dense, GroupedAttention
from ..units import PS_PER_MS, PS_PER_S, nearest_ps
from .base import FRACTION_BITS, Evidence, Lowered, PassLimits, affine, affine_limit, fixed_point
from .operators import Load, all_reduce, basis, decode_attention, gemm, operator_curve, prefill_attention
from .operators.fitted import provenance

KERNEL_S = 2e-6
"""A small kernel inside a CUDA graph, at least: an assumption, of the order of an empty kernel's."""

SMALL_KERNELS = 4
"""Of a layer: two norms, rotation and cache, activation."""

STREAM_EFFICIENCY = 0.8
"""Of the memory's rate, reached by kernels that only read and write: an assumption, AIConfigurator's as well."""

LOGITS_BYTES = 12
"""Read and written for one logit on its way to a token, in 32 bits."""


@dataclass(frozen=True)
class Composed:
    model: Model
    gpu: Gpu
    tensor: int
    stored: Stored
    kv: Format
    host_ms: float

    @property
    def evidence(self) -> Evidence:
        return Evidence.FITTED if basis(self.gpu.name) == self.gpu.name else Evidence.TRANSFERRED

    @property
    def assumptions(self) -> dict[str, float | str]:
        assumed: dict[str, float | str] = {
            "model": self.model.name,
            "gpu": self.gpu.title,
            "operators": provenance(),
            "host_ms": self.host_ms,
            "small_kernel_us": KERNEL_S * 1e6,
            "stream_efficiency": STREAM_EFFICIENCY,
        }
        if self.evidence is Evidence.TRANSFERRED:
            assumed["operators_of"] = basis(self.gpu.name) or ""
        return assumed

    def lower(self, limits: PassLimits) -> Lowered:
        terms = _chords([(tokens, self.products_s(tokens)) for tokens in _token_counts(limits)])
        floor, context = self._decode_line(limits)
        work, token = self._prefill_line(limits)
        head, row = self._head_line(limits)
        fixed = affine(
            base_ps=nearest_ps(self.host_ms, PS_PER_MS) + _ps(self.model.layers * floor + head),
            context_ps=_ps(self.model.layers * context),
            prefill_token_ps=_ps(self.model.layers * token),
            work_fps=fixed_point(self.model.layers * work * PS_PER_S),
            sequence_ps=_ps(row),
        )
        units = 2 * (2 + limits.tokens + 2 * limits.rows + limits.context)
        rounding = 2 * limits.tokens * limits.length >> FRACTION_BITS
        return Lowered(
            {"kind": "affine", "host": fixed, "terms": terms},
            error_ps=(units + rounding + 1) // 2 + 2,
            greatest_ps=affine_limit(fixed, limits) + max(affine_limit(term, limits) for term in terms),
        )

    def products_s(self, tokens: int) -> float:
        """All that depends on the tokens of a pass alone, in all layers."""
        return sum(layer.count * self._layer_s(layer.mixer, layer.mlp, tokens) for layer in self.model.stack)

    def _layer_s(self, mixer: object, mlp: object, tokens: int) -> float:
        assert isinstance(mixer, GroupedAttention)
        assert isinstance(mlp, Dense)
        hidden, heads = self.model.hidden, mixer.heads // self.tensor
        queries = heads * mixer.head_dim * (2 if mixer.gated else 1)
        keys = max(mixer.kv_heads // self.tensor, 1) * (mixer.head_dim + mixer.value_dim)
        inner = mlp.intermediate // self.tensor
        products = (
            self._gemm_s(self.stored.attention, tokens, queries + keys, hidden)
            + self._gemm_s(self.stored.attention, tokens, hidden, heads * mixer.value_dim)
            + self._gemm_s(self.stored.mlp, tokens, 2 * inner, hidden)
            + self._gemm_s(self.stored.mlp, tokens, hidden, inner)
        )
        # Norms read two and write two hidden states each; rotation and activation go over their own.
        moved = 2 * tokens * (8 * hidden + 2 * (queries + keys) + 3 * inner)
        streams = moved / (self.gpu.memory_bytes_per_s * STREAM_EFFICIENCY) + SMALL_KERNELS * KERNEL_S
        return products + streams + 2 * self._all_reduce_s(2 * tokens * hidden)

    def _gemm_s(self, stored: Format, m: int, n: int, k: int) -> float:
        return self._operator_s("gemm", stored.name, lambda gpu: gemm(gpu, stored, m, n, k))

    def _all_reduce_s(self, size: int) -> float:
        if self.tensor == 1:
            return 0.0
        return self._operator_s("all_reduce", str(self.tensor), lambda gpu: all_reduce(gpu, self.tensor, size))

    def _operator_s(self, operator: str, kind: str, load: Callable[[Gpu], Load]) -> float:
        like = basis(self.gpu.name)
        assert like is not None, "checked by lacking()"
        curve = operator_curve(operator, kind, like)
        assert curve is not None, "checked by lacking()"
        return curve.seconds_like(load(self.gpu), load(GPUS[like]))

    def _attention(self, load: Callable[..., Load], operator: str, rows: int, tokens: int) -> float:
        mixer = self.model.mixer
        assert isinstance(mixer, GroupedAttention)
        heads, kv_heads = mixer.heads // self.tensor, max(mixer.kv_heads // self.tensor, 1)
        return self._operator_s(
            operator, "bf16", lambda gpu: load(gpu, rows, tokens, heads, kv_heads, mixer.head_dim, self.kv)
        )

    def decode_attention_s(self, rows: int, context: int) -> float:
        """Of one layer: `rows` requests with `context` tokens each."""
        return self._attention(decode_attention, "decode_attention", rows, context)

    def prefill_attention_s(self, tokens: int) -> float:
        """Of one layer: one prompt of so many tokens."""
        return self._attention(prefill_attention, "prefill_attention", 1, tokens)

    def _decode_line(self, limits: PassLimits) -> tuple[float, float]:
        """Seconds of a layer's decode attention, whatever is in it, and for each token of context."""
        batches = sorted({min(rows, limits.rows) for rows in (1, 8, 32, 64, 128, 256)})
        lengths = sorted({min(length, limits.length) for length in (256, 1024, 4096, 16384)})
        points = [(rows * length, self.decode_attention_s(rows, length)) for rows in batches for length in lengths]
        return _relative_line(points)

    def _prefill_line(self, limits: PassLimits) -> tuple[float, float]:
        """Seconds of a layer's attention for a unit of work, and for each token of a prompt."""
        long, short = min(limits.tokens, limits.length, 8192), min(limits.tokens, limits.length, 512)
        work = self.prefill_attention_s(long) / long**2
        return work, max(self.prefill_attention_s(short) - work * short**2, 0.0) / short

    def _head_line(self, limits: PassLimits) -> tuple[float, float]:
        """Seconds of the output head and the choice of tokens: for the first row, and for each."""
        head = self.model.head
        logits = LOGITS_BYTES * head.outputs / (self.gpu.memory_bytes_per_s * STREAM_EFFICIENCY)
        columns = head.outputs // self.tensor
        one, all_ = (self._gemm_s(BF16, rows, columns, head.inputs) for rows in (1, max(limits.rows, 2)))
        slope = max(all_ - one, 0.0) / (max(limits.rows, 2) - 1)
        return one - slope, slope + logits


def lacking(model: Model, gpu: Gpu, tensor: int, stored: Stored) -> list[str]:
    """Of the operators of a pass, those that nothing was measured of on this GPU or one like it."""
    like = basis(gpu.name)
    if like is None:
        return [f"operators of {gpu.title}"]
    kinds = [("gemm", stored.of(part).name) for part in model.part_parameters()]
    kinds += [("all_reduce", str(tensor))] if tensor > 1 else []
    kinds += [("prefill_attention", "bf16"), ("decode_attention", "bf16")]
    return [
        f"{operator} of {kind}" for operator, kind in dict.fromkeys(kinds) if not operator_curve(operator, kind, like)
    ]


def _token_counts(limits: PassLimits) -> list[int]:
    counts = {min(2**power, limits.tokens) for power in range(15)}
    counts |= {min(3 * 2**power, limits.tokens) for power in range(5, 13)}
    return sorted({*counts, max(limits.tokens, 2)})


def _chords(points: list[tuple[int, float]]) -> list[dict[str, int]]:
    """Lines whose maximum is the largest convex function that is nowhere above the points, falls nowhere, and grows no
    faster than in proportion: where the points do, the last line goes through the origin."""
    least, lowest = [], float("inf")
    for tokens, seconds in reversed(points):
        lowest = min(lowest, seconds)
        least.append((tokens, lowest))
    hull = _hull(least[::-1])
    found = []
    for (x, y), (next_x, next_y) in pairwise(hull):
        slope = (next_y - y) / (next_x - x)
        if y < slope * x:
            # Superlinear from here on.
            found.append((0.0, y / x))
            break
        found.append((y - slope * x, slope))
    return [affine(base_ps=_ps(base), prefill_token_ps=_ps(slope), decode_row_ps=_ps(slope)) for base, slope in found]


def _hull(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The lower convex hull."""
    kept: list[tuple[int, float]] = []
    for x, y in points:
        while len(kept) > 1 and _turns(kept[-2], kept[-1], (x, y)):
            kept.pop()
        kept.append((x, y))
    return kept


def _turns(first: tuple[int, float], middle: tuple[int, float], last: tuple[int, float]) -> bool:
    return (middle[1] - first[1]) * (last[0] - first[0]) >= (last[1] - first[1]) * (middle[0] - first[0])


def _relative_line(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Least squares of the relative error of base + slope · x; neither below 0."""
    a = b = c = d = e = 0.0
    for x, y in points:
        a, b, c, d, e = a + 1 / y**2, b + x / y**2, c + (x / y) ** 2, d + 1 / y, e + x / y
    slope = max((a * e - b * d) / (a * c - b * b), 0.0)
    return max((d - slope * b) / a, 0.0), slope


def _ps(seconds: float) -> int:
    return round(seconds * PS_PER_S)
