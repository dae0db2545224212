"""A pass as the sum of its operators, each from a curve fitted to measured timings.

Per rank, for T = P + D tokens, D rows that decode with C tokens of context, prompts of P new tokens and
W = Σ new·(2·past + new), and N rows:

    pass = tokens(T) + decode(D, C) + prompt(P, W) + head(N)

`tokens` is what the tokens of a pass share whatever they are: the matrix products of each layer, its experts, small
kernels and collectives. Where modules were measured whole (latent and compressed attention), `decode` and `prompt`
are what a module takes beyond its products. Of a pipeline stage it is the stage's layers, what it sends on, and the
head only if it is the last. Not modelled: the overlap of collectives with arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..catalog import Gpu, Model, Stored
from ..catalog.formats import BF16, Format
from ..catalog.layers import (
    CompressedAttention,
    Dense,
    Experts,
    GatedDelta,
    GroupedAttention,
    LatentAttention,
    Layer,
    Mixer,
)
from ..catalog.parallel import Ranks
from ..catalog.stages import Stage
from .base import Evidence
from .mixers import MixerCost
from .operators import attention_kind, basis, operator_curve
from .operators.fitted import kinds, provenance
from .priced import ASSUMED_EFFICIENCY, ASSUMED_ERROR, KERNEL_S, STREAM_EFFICIENCY, Cost, Priced
from .sends import send_s

SKEW = 1.01
"""Exponent of the power law of experts' loads, if none is given: the milder of the two that were measured."""

SMALL_KERNELS = 4
"""Of a layer: two norms, rotation and cache, activation."""

LOGITS_BYTES = 12
"""Read and written for one logit on its way to a token, in 32 bits."""

BESIDE_TOKENS = 256
"""Up to so many tokens of a pass the shared expert runs beside the routed ones, on a stream of its own: vLLM's
VLLM_SHARED_EXPERTS_STREAM_TOKEN_THRESHOLD; SGLang and TensorRT-LLM have the like."""

USUAL = (64, 64 * 2048, 2048)
"""Decodes, their context, and tokens of a prompt: the pass by which operators are weighed."""


@dataclass(frozen=True)
class Composed:
    """Implements `PassCurves`. All times are seconds of one rank's share of one pass, the host's apart."""

    model: Model
    gpu: Gpu
    ranks: Ranks
    stored: Stored
    kv: Format
    skew: float = SKEW
    exchange: str = "gather"
    """How data ranks bring tokens to experts: `gather` all of them everywhere, or `deepep`."""
    stage: Stage | None = None
    """Of a pipeline, the one that is priced."""

    @cached_property
    def _priced(self) -> Priced:
        return Priced.on(self.gpu)

    @property
    def evidence(self) -> Evidence:
        if lacking(self.model, self.gpu, self.ranks, self.stored):
            return Evidence.ANALYTIC
        return Evidence.FITTED if basis(self.gpu.name) == self.gpu.name else Evidence.TRANSFERRED

    @property
    def assumptions(self) -> dict[str, float | str]:
        assumed: dict[str, float | str] = {
            "model": self.model.name,
            "gpu": self.gpu.title,
            "operators": provenance() if self._priced.like else "none measured",
            "small_kernel_us": KERNEL_S * 1e6,
            "stream_efficiency": STREAM_EFFICIENCY,
        }
        if self.evidence is Evidence.TRANSFERRED:
            assumed["operators_of"] = basis(self.gpu.name) or ""
        if self.model.has_experts:
            assumed["expert_skew"] = self.skew
            if self.ranks.data > 1:
                assumed["expert_exchange"] = self.exchange
        missing = lacking(self.model, self.gpu, self.ranks, self.stored)
        if missing:
            assumed["not_measured"] = ", ".join(missing)
            assumed["assumed_efficiency"] = ASSUMED_EFFICIENCY
        return assumed

    def tokens_s(self, tokens: int) -> float:
        return self.tokens(tokens).seconds

    def decode_s(self, rows: int, context: int) -> float:
        """`context`: over all rows."""
        return self.decode(rows, context).seconds

    def prompt_s(self, tokens: int, work: int) -> float:
        return self.prompt(tokens, work).seconds

    def head_s(self, sequences: int) -> float:
        return self.head(sequences).seconds

    def distance(self, prefill: int, work: int, rows: int, context: int) -> float:
        """How far the operators of such a pass lie from what was measured, in natural logarithms; 0 within."""
        return self._pass(prefill, work, rows, context).distance

    @property
    def spread(self) -> float:
        """Median errors of the operators on shapes kept from their fits, weighed by their shares of a usual pass."""
        rows, context, prompt = USUAL
        usual = self._pass(prompt, prompt**2, rows, context)
        return usual.error_s / usual.seconds

    def _pass(self, prefill: int, work: int, rows: int, context: int) -> Cost:
        cost = self.tokens(prefill + rows) + self.head(max(rows, 1))
        if rows:
            cost += self.decode(rows, context)
        return cost + self.prompt(prefill, work) if prefill else cost

    def tokens(self, tokens: int) -> Cost:
        """All that depends on the tokens of a pass alone, in the layers of one stage."""
        cost = sum((self._layer(layer, tokens) * layer.count for layer in self.model.stack), Cost()) * self._share
        sent_s = send_s(self.stage, tokens, self.model.hidden, self.ranks.tensor)
        return cost + Cost(sent_s, ASSUMED_ERROR * sent_s)

    def decode(self, rows: int, context: int) -> Cost:
        each = max(round(context / rows), 1)
        return sum((mixer.decode(rows, each) * count for mixer, count in self._mixers.values()), Cost()) * self._share

    def prompt(self, tokens: int, work: int) -> Cost:
        return (
            sum((mixer.prompts(tokens, work) * count for mixer, count in self._mixers.values()), Cost()) * self._share
        )

    def head(self, sequences: int) -> Cost:
        """The output head, and the choice of tokens."""
        if self.stage is not None and not self.stage.is_last:
            return Cost()
        head = self.model.head
        columns = head.outputs // self.ranks.tensor
        return self._priced.gemm(BF16, sequences, columns, head.inputs) + self._priced.stream(
            LOGITS_BYTES * sequences * head.outputs, 0
        )

    @property
    def stage_layers(self) -> int:
        return self.model.layers if self.stage is None else self.stage.layers

    @property
    def _share(self) -> float:
        """Of the layers, those of the stage."""
        return self.stage_layers / self.model.layers

    @cached_property
    def _mixers(self) -> dict[Mixer, tuple[MixerCost, int]]:
        """Of each kind, what it costs and how many layers have it."""
        found: dict[Mixer, tuple[MixerCost, int]] = {}
        for layer in self.model.stack:
            fresh = MixerCost(
                layer.mixer, self.model.hidden, self.stored.attention, self.kv, self.ranks.tensor, self._priced
            )
            cost, count = found.get(layer.mixer, (fresh, 0))
            found[layer.mixer] = cost, count + layer.count
        return found

    def _layer(self, layer: Layer, tokens: int) -> Cost:
        cost = self._mixers[layer.mixer][0].products(tokens) + self._small(layer, tokens)
        state = 2 * tokens * self.model.hidden
        cost += self._priced.all_reduce(self.ranks.tensor, state)
        if isinstance(layer.mlp, Dense):
            mlp = self._gated(self.stored.mlp, layer.mlp.intermediate, tokens)
            return cost + mlp + self._priced.all_reduce(self.ranks.tensor, state)
        return cost + self._experts(layer.mlp, tokens)

    def _gated(self, stored: Format, intermediate: int, tokens: int) -> Cost:
        inner = intermediate // self.ranks.tensor
        return self._priced.gemm(stored, tokens, 2 * inner, self.model.hidden) + self._priced.gemm(
            stored, tokens, self.model.hidden, inner
        )

    def _experts(self, mlp: Experts, tokens: int) -> Cost:
        """Of the tokens of all data ranks, as if each had as many."""
        priced, ranks, hidden = self._priced, self.ranks, self.model.hidden
        every, inner = tokens * ranks.data, mlp.intermediate // ranks.expert_slices
        cost = priced.gemm(BF16, tokens, mlp.count, hidden)
        kind = experts_kind(self.stored, self._priced.like)
        routed = priced.experts(kind, self.stored.experts, hidden, mlp, inner, ranks.expert, every, self.skew)
        if mlp.shared_intermediate:
            shared = self._gated(self.stored.shared_experts, mlp.shared_intermediate, tokens)
            routed = routed.beside(shared) if tokens <= BESIDE_TOKENS else routed + shared
        cost += routed
        if mlp.shared_intermediate or ranks.data == 1:
            cost += priced.all_reduce(ranks.tensor, 2 * tokens * hidden)
        return cost + self._exchanged(mlp, tokens) if ranks.data > 1 else cost

    def _exchanged(self, mlp: Experts, tokens: int) -> Cost:
        """There and back."""
        priced, ranks, hidden = self._priced, self.ranks, self.model.hidden
        if self.exchange == "deepep":
            return priced.deepep(ranks.stage, tokens, hidden, mlp.active)
        sent = 2 * tokens * ranks.data * hidden
        return priced.gather("all_gather", ranks.data, sent) + priced.gather("reduce_scatter", ranks.data, sent)

    def _small(self, layer: Layer, tokens: int) -> Cost:
        """Norms, rotation, activation; and the residual streams where there are several."""
        hidden, mixer = self.model.hidden, layer.mixer
        inner = layer.mlp.intermediate if isinstance(layer.mlp, Dense) else layer.mlp.shared_intermediate
        # Norms read two and write two hidden states each; rotation and activation go over their own.
        numbers = 8 * hidden + 3 * inner // self.ranks.tensor
        if isinstance(mixer, GroupedAttention):
            heads, keys = mixer.heads // self.ranks.tensor, max(mixer.kv_heads // self.ranks.tensor, 1)
            numbers += 2 * (heads * mixer.head_dim * (2 if mixer.gated else 1) + keys * 2 * mixer.head_dim)
        kernels = SMALL_KERNELS
        if self.model.hyper_connections:
            # Before and after each half of a layer all streams are read, mixed and written.
            numbers += 2 * 3 * self.model.hyper_connections * hidden
            kernels += 4
        return self._priced.stream(2 * tokens * numbers, kernels)


def lacking(model: Model, gpu: Gpu, ranks: Ranks, stored: Stored) -> list[str]:
    """Of the operators of a pass, those that nothing was measured of on this GPU or one like it, and what was."""
    like = basis(gpu.name)
    if like is None:
        return ["any operator"]
    wanted: dict[tuple[str, str], None] = {}
    for layer in model.stack:
        wanted |= dict.fromkeys(_of_mixer(layer, stored))
        wanted |= dict.fromkeys(_of_mlp(layer, stored, like))
    if ranks.tensor > 1 and not kinds("all_reduce", like):
        wanted["all_reduce", str(ranks.tensor)] = None
    if ranks.data > 1 and model.has_experts and not kinds("collective", like):
        wanted["collective", f"all_gather_{ranks.data}"] = None
    return [_without(operator, kind, like) for operator, kind in wanted if not operator_curve(operator, kind, like)]


def _of_mixer(layer: Layer, stored: Stored) -> list[tuple[str, str]]:
    mixer, kind = layer.mixer, stored.attention.name
    if isinstance(mixer, LatentAttention | CompressedAttention):
        return [("gemm", kind), (f"{mixer.family}_prompt", kind), (f"{mixer.family}_decode", kind)]
    if isinstance(mixer, GatedDelta):
        return [("gemm", kind), ("gated_delta", "prompt_rule"), ("gated_delta", "decode_rule")]
    attention = attention_kind(mixer.window)
    return [("gemm", kind), ("prefill_attention", attention), ("decode_attention", attention)]


def experts_kind(stored: Stored, like: str | None) -> str:
    """Of the curves: experts in MXFP4 of checkpoints that are otherwise in FP8 take activations in MXFP8, where the
    GPU multiplies them (DeepSeek V4 on Blackwell)."""
    mixed = f"{stored.experts.name}_mxfp8"
    if stored.attention.arithmetic == "fp8" and like is not None and operator_curve("experts", mixed, like):
        return mixed
    return stored.experts.name


def _of_mlp(layer: Layer, stored: Stored, like: str) -> list[tuple[str, str]]:
    if isinstance(layer.mlp, Dense):
        return [("gemm", stored.mlp.name)]
    shared = [("gemm", stored.shared_experts.name)] if layer.mlp.shared_intermediate else []
    return [("experts", experts_kind(stored, like)), *shared]


def _without(operator: str, kind: str, like: str) -> str:
    measured = kinds(operator, like)
    there = f"measured: {', '.join(measured)}" if measured else "none measured"
    return f"{operator.replace('_', ' ')} of {kind} ({there})"
