"""A roofline: a pass takes as long as its arithmetic or its memory traffic, whichever is longer, plus a fixed cost.

Per rank, for P prefill tokens, D decode rows, N rows and C tokens of context, of a pipeline stage with its share of
the layers (the head in the last, the host's part in the first, what is sent to the next among the fixed):

    arithmetic = [2·(matrix parameters)·(P + D) + 2·(head parameters)·N + 2·L·h·W + 4·L·h·C] / (ranks · rate)
    memory     = [weights + KV bytes·(C + P + D)] / rate
    fixed      = host + all-reduces

L layers and h = heads · head_dim; W = Σ new·(2·past + new) over prefill rows, so 2·L·h·W is the attention of
prompts, causally masked. 4·L·h·C is the attention of decodes; that prefill rows are in C too adds less than
1/(new tokens) of their own. Not modelled: the slowness of small kernels, launches without CUDA graphs, the
overlap of all-reduces with arithmetic. No figure here was fitted to a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..catalog import Gpu, Model, Stored
from ..catalog.formats import Format
from ..catalog.layers import Part
from ..catalog.stages import Stage
from ..units import PS_PER_S, PS_PER_US, nearest_ps
from .base import FRACTION_BITS, Evidence, Lowered, PassLimits, affine, affine_limit, fixed_point
from .host import Host
from .sends import SEND_S, token_bytes

ALLREDUCE_LATENCY_US = 8.0
"""Of one small all-reduce among the GPUs of a machine: an assumption, of the order of vLLM's own over NVLink."""


@dataclass(frozen=True)
class Roofline:
    model: Model
    gpu: Gpu
    tensor: int
    stored: Stored
    kv: Format
    compute_efficiency: float
    memory_efficiency: float
    host: Host
    stage: Stage | None = None
    """Of a pipeline, the one that is priced."""
    evidence: Evidence = Evidence.ANALYTIC
    spread: float = 0.0

    @property
    def assumptions(self) -> dict[str, float | str]:
        assumed: dict[str, float | str] = {
            "model": self.model.name,
            "gpu": self.gpu.title,
            "compute_efficiency": self.compute_efficiency,
            "memory_efficiency": self.memory_efficiency,
            "host_ms": self.host.pass_ms,
            "host_row_us": self.host.row_us,
        }
        if self.tensor > 1:
            assumed["allreduce_latency_us"] = ALLREDUCE_LATENCY_US
        return assumed

    def lower(self, limits: PassLimits) -> Lowered:
        arithmetic, memory, fixed = self._arithmetic(), self._memory(), self._fixed()
        description = {"kind": "affine", "host": fixed, "terms": [arithmetic, memory]}
        # Each coefficient is off by at most half a unit; the fixed part adds to either term.
        units = 2 * (1 + limits.tokens + 2 * limits.rows + limits.context)
        work = 2 * limits.tokens * limits.length >> FRACTION_BITS
        return Lowered(
            description,
            error_ps=(units + work + 1) // 2 + 2,
            greatest_ps=affine_limit(fixed, limits)
            + max(affine_limit(arithmetic, limits), affine_limit(memory, limits)),
        )

    def _arithmetic(self) -> dict[str, int]:
        model = self.model
        rate = self.gpu.flops(self.stored.mlp.arithmetic)
        matrices = PS_PER_S / (rate * self.compute_efficiency * self.tensor)
        attention = PS_PER_S / (self.gpu.bf16_flops * self.compute_efficiency * self.tensor)
        token = round(2 * self._layer_parameters() * self._share * matrices)
        # Of attention: what one more token of context adds.
        context = (model.flops(1) - model.flops(0)) * self._share
        return affine(
            prefill_token_ps=token,
            decode_row_ps=token,
            sequence_ps=round(2 * model.head.elements * attention) if self._has_head else 0,
            work_fps=fixed_point(context / 2 * attention),
            context_ps=round(context * attention),
        )

    @property
    def _share(self) -> float:
        """Of the layers, those of the stage."""
        return 1.0 if self.stage is None else self.stage.layers / self.model.layers

    @property
    def _has_head(self) -> bool:
        return self.stage is None or self.stage.is_last

    def _layer_parameters(self) -> int:
        return sum(count * matrix.active_elements for count, matrix in self.model.layer_matrices())

    def _memory(self) -> dict[str, int]:
        model = self.model
        byte = PS_PER_S / (self.gpu.memory_bytes_per_s * self.memory_efficiency)
        # The input embedding is looked up, not read through.
        head = self.stored.of(Part.HEAD).size(model.head.elements)
        weights = (model.token_weight_bytes(self.stored) - head) * self._share + (head if self._has_head else 0)
        token = round(model.cache_bytes(1, self.kv, self.tensor) * self._share * byte)
        return affine(
            base_ps=round(weights / self.tensor * byte), context_ps=token, prefill_token_ps=token, decode_row_ps=token
        )

    def _fixed(self) -> dict[str, int]:
        host, row = self.host.pass_ps, self.host.row_ps
        base, token = self._sends()
        if self.tensor == 1:
            return affine(base_ps=host + base, sequence_ps=row, prefill_token_ps=token, decode_row_ps=token)
        # Two all-reduces a layer (after attention and after the MLP) of one 2-byte hidden state a token; a ring
        # sends 2·(ranks − 1)/ranks of it over each link.
        count = 2 * (self.model.layers if self.stage is None else self.stage.layers)
        sent = 2 * (self.tensor - 1) / self.tensor * 2 * self.model.hidden
        token += round(count * sent / self.gpu.link.bytes_per_s * PS_PER_S)
        base += nearest_ps(count * ALLREDUCE_LATENCY_US, PS_PER_US)
        return affine(base_ps=host + base, sequence_ps=row, prefill_token_ps=token, decode_row_ps=token)

    def _sends(self) -> tuple[int, int]:
        """To the next stage, in picoseconds: of a pass, and of each token."""
        if self.stage is None or self.stage.is_last:
            return 0, 0
        each = token_bytes(self.model.hidden, self.tensor) / self.stage.sends_bytes_per_s
        return round(SEND_S * PS_PER_S), round(each * PS_PER_S)
