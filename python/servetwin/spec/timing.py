"""`timing`: how long a forward pass takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Microseconds, Milliseconds, NotNegative, SpecModel
from .kinds import ByKind

Efficiency = Annotated[float, Field(ge=1e-6, le=1)]


class RequestTiming(SpecModel):
    """What the front end takes: for each request, for each token of its prompt, and until a token is with the client.

    The first two lie before the router sees a request.
    """

    request_ms: Milliseconds = 0.0
    prompt_token_us: Microseconds = 0.0
    stream_ms: Milliseconds = 0.0


class HostTiming(RequestTiming):
    """What the host adds to a pass: `host_ms` to each, `host_row_us` for each request in it.

    Where kernels are not replayed from a CUDA graph, their launches take `eager_layer_us` a layer, or
    `piecewise_layer_us` where all but the attention is; a pass lasts at least as long as its launches.
    """

    request_ms: Milliseconds = 1.0
    prompt_token_us: Microseconds = 1.0
    stream_ms: Milliseconds = 0.5
    host_ms: Milliseconds = 0.5
    host_row_us: Microseconds = 0.0
    eager_layer_us: Microseconds = 300.0
    piecewise_layer_us: Microseconds = 50.0


class LinearTiming(RequestTiming):
    """base_ms + prefill_token_ms · prefill tokens + decode_row_ms · decode rows + context_token_ms · context.

    Context is the sum, over all rows of the pass, of the tokens in their cache after it. Exact: each
    coefficient must be a whole number of picoseconds.
    """

    kind: Literal["linear"]
    base_ms: NotNegative
    prefill_token_ms: NotNegative = 0.0
    decode_row_ms: NotNegative = 0.0
    context_token_ms: NotNegative = 0.0


class PolynomialTiming(RequestTiming):
    """DynoSim's uncalibrated default, composed as it does (prefill, then decode)."""

    kind: Literal["polynomial"]


class AnalyticTiming(HostTiming):
    """Computed from model and GPU.

    Where operators were measured on the GPU, or one of its generation, a pass is composed of curves fitted to them.
    With an efficiency given, or where nothing was measured, it is a roofline: the shares of the data sheet's arithmetic
    and memory rates that a pass reaches, 0.7 and 0.8 if not given. `allow_extrapolation` prices operators that nothing
    was measured of by assumption. `expert_skew` is the exponent of the power law that experts' loads follow, 0 alike.
    `expert_exchange` is how attention data ranks bring tokens to experts.
    """

    kind: Literal["analytic"] = "analytic"
    compute_efficiency: Efficiency | None = None
    memory_efficiency: Efficiency | None = None
    allow_extrapolation: bool = False
    expert_skew: Annotated[float, Field(ge=0, le=3)] | None = None
    expert_exchange: Literal["gather", "deepep"] = "gather"


class TableTiming(HostTiming):
    """Timings of one's own, or of others: a file of whole passes, or a folder of layers (LLMServingSim's format)."""

    kind: Literal["table"]
    path: str


class AiconfiguratorTiming(HostTiming):
    """NVIDIA's AIConfigurator's sums of kernels, from its core (`pip install 'servetwin[aiconfigurator]'`).

    `backend_version` names the engine's version its timings are of, as it does: current, previous, next or a number.
    """

    kind: Literal["aiconfigurator"]
    backend_version: str = "current"


class ProfileTiming(SpecModel):
    """What `servetwin calibrate` wrote: another timing, its terms fitted to measurements. `{profile: file}` will do."""

    kind: Literal["profile"]
    profile: str


BaseTiming = Annotated[
    LinearTiming | PolynomialTiming | AnalyticTiming | TableTiming | AiconfiguratorTiming, ByKind("kind")
]
"""What a profile can stand on."""

Timing = Annotated[
    LinearTiming | PolynomialTiming | AnalyticTiming | TableTiming | AiconfiguratorTiming | ProfileTiming,
    ByKind("kind"),
]
