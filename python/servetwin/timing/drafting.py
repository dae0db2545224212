"""What drafting adds to a pass, where it is given, or derived for `analytic`.

A head of one layer drafts in `steps` forward passes of its own, one after the other. Each reads the layer and the
output matrix, and computes them for every request:

    steps · (bytes / memory rate + launches)   +   drafts · 2 · parameters / arithmetic rate

at the shares of the data sheet's rates that a roofline assumes. The head is a layer like the model's last, with a
projection of two hidden states to one in front of it, as EAGLE's and multi-token prediction's are; its vocabulary
is the model's. What EAGLE-3's smaller vocabulary saves is not counted.
"""

from __future__ import annotations

from dataclasses import replace

from ..catalog import Model, ResolvedEngine
from ..catalog.speculation import head_layer
from ..spec import Spec
from ..spec.engine import Drafting
from ..spec.timing import AnalyticTiming
from ..units import PS_PER_MS, PS_PER_S
from .base import COMPUTE_EFFICIENCY, MEMORY_EFFICIENCY, Lowered, PassLimits, affine, affine_limit
from .effective import base_timing

STEP_PS = 20 * 10**6
"""Of launching a layer's kernels from one CUDA graph: some ten of two microseconds, an assumption."""

COSTS = ("draft_ms", "draft_token_ms", "verify_token_ms")


def with_drafting(spec: Spec, engine: ResolvedEngine, lowered: Lowered, limits: PassLimits) -> Lowered:
    """The lowered timing of a pass, drafting included. Raises SpecError for costs that would have no effect."""
    drafting = spec.engine.drafting
    if drafting is None:
        return lowered
    kind = lowered.description["kind"]
    given = [name for name in COSTS if getattr(drafting.options, name) is not None]
    if kind == "polynomial":
        if given:
            raise spec.source.problem(
                (*drafting.field, given[0]),
                "without effect: timing of kind polynomial prices a pass that verifies drafts as one that decodes",
                wanted="another timing, such as `timing: {kind: linear, …}`, or it left out",
            )
        return lowered
    analytic = isinstance(base_timing(spec), AnalyticTiming)
    if (analytic or kind == "tabulated") and drafting.options.verify_token_ms is not None:
        raise spec.source.problem(
            (*drafting.field, "verify_token_ms"),
            "this timing prices the tokens of drafts as those of any other row",
            wanted="it left out",
        )
    described = lowered.description
    if analytic and kind == "affine":
        # A roofline prices the token of a draft as that of a prompt.
        terms = [term | {"draft_token_ps": term["prefill_token_ps"]} for term in described["terms"]]
        described = described | {"terms": terms}
    draft = _draft(spec, engine, drafting)
    longest = replace(limits, rows=limits.rows * drafting.drafts)
    cost = affine_limit(draft, limits) + draft["draft_token_ps"] * longest.rows
    return replace(
        lowered,
        description=described | {"draft": draft},
        greatest_ps=lowered.greatest_ps + cost,
    )


def _draft(spec: Spec, engine: ResolvedEngine, drafting: Drafting) -> dict[str, int]:
    options = drafting.options
    base, token = 0, 0
    if drafting.head != "none" and isinstance(base_timing(spec), AnalyticTiming):
        base, token = _head(spec, engine, drafting)
    if options.draft_ms is not None:
        base = round(options.draft_ms * PS_PER_MS)
    if options.draft_token_ms is not None:
        token = round(options.draft_token_ms * PS_PER_MS)
    verify = round((options.verify_token_ms or 0) * PS_PER_MS)
    return affine(base_ps=base, draft_token_ps=token + verify)


def _head(spec: Spec, engine: ResolvedEngine, drafting: Drafting) -> tuple[int, int]:
    """Picoseconds a pass, and a draft."""
    model, gpu = engine.model, engine.gpu
    assert model is not None
    assert gpu is not None
    layer = head_layer(model, drafting)
    held = sum(matrix.elements for matrix in layer.matrices(model.hidden)) + _ends(model)
    active = sum(matrix.active_elements for matrix in layer.matrices(model.hidden)) + _ends(model)
    tensor = spec.parallel.tensor
    # Heads are kept in 16 bits.
    read = 2 * held / tensor / (gpu.memory_bytes_per_s * MEMORY_EFFICIENCY) * PS_PER_S
    computed = 2 * active / tensor / (gpu.bf16_flops * COMPUTE_EFFICIENCY) * PS_PER_S
    return round(drafting.steps * (read + STEP_PS)), round(computed)


def _ends(model: Model) -> int:
    """Elements of the projection in front of the head, and of the output matrix behind it."""
    return 2 * model.hidden * model.hidden + model.head.elements
