"""`workload`: the requests, from a trace or generated from the run's seed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import HORIZON_S, Count, SpecModel
from .kinds import ByKind
from .traffic import Generated, OpenLoop, Rate, RateOrZero, Tokens, Variation
from .transforms import Transform

TraceFormat = Literal[
    "mooncake",
    "azure",
    "burstgpt",
    "bailian",
    "sharegpt",
    "dynamo",
    "aiperf",
    "guidellm",
    "agentic",
    "applied_compute_agentic",
    "table",
    "parquet",
]


class Recorded(SpecModel):
    """How to read a trace."""

    trace: str | None = None
    format: Literal["auto"] | TraceFormat = "auto"
    block_tokens: Annotated[int, Field(ge=1, le=2**20)] | None = None
    turns: Literal["cumulative", "delta", "separate"] | None = None
    time_unit: Literal["s", "ms", "us", "ns", "ps"] | None = None
    users: Count | None = None
    transforms: list[Transform] = Field(default_factory=list)


class TraceWorkload(Recorded):
    """Requests of a recorded trace. With `users` the trace is a closed loop's list: arrival times are not read."""

    kind: Literal["trace"] = "trace"
    speedup: Annotated[float, Field(ge=0.001, le=1_000_000)] = 1.0
    limit: Count | None = None
    max_output_tokens: Tokens | None = None


class LikeWorkload(Recorded):
    """As many requests as wanted that look like those of a trace: its rates, lengths, reuse and sessions."""

    kind: Literal["like"]
    requests: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    duration_s: Annotated[float, Field(gt=0, le=HORIZON_S)] | None = None


class PoissonWorkload(OpenLoop):
    """Sessions start at random: a Poisson process."""

    kind: Literal["poisson"]
    rate_per_s: Rate


class ConstantWorkload(OpenLoop):
    """Sessions start evenly."""

    kind: Literal["constant"]
    rate_per_s: Rate


class GammaWorkload(OpenLoop):
    """Gaps are gamma-distributed: above a `cv` of 1 burstier than Poisson, below it more even."""

    kind: Literal["gamma"]
    rate_per_s: Rate
    cv: Variation


class OnOffWorkload(OpenLoop):
    """Bursts: two rates in turn, for exponentially distributed times of mean `on_s` and `off_s`."""

    kind: Literal["on_off"]
    on_rate_per_s: Rate
    off_rate_per_s: RateOrZero = 0.0
    on_s: Annotated[float, Field(ge=0.001, le=HORIZON_S)]
    off_s: Annotated[float, Field(ge=0.001, le=HORIZON_S)]
    cv: Variation = 1.0


class DiurnalWorkload(OpenLoop):
    """A day's curve: a cosine between two rates."""

    kind: Literal["diurnal"]
    low_rate_per_s: RateOrZero
    high_rate_per_s: Rate
    high_at_s: Annotated[float, Field(ge=0, le=HORIZON_S)] = 50_400.0
    day_s: Annotated[float, Field(ge=1, le=HORIZON_S)] = 86_400.0
    cv: Variation = 1.0


class RateStep(SpecModel):
    """From `at_s` on."""

    at_s: Annotated[float, Field(ge=0, le=HORIZON_S)]
    rate_per_s: RateOrZero


class StepsWorkload(OpenLoop):
    """Rates that hold until the next one: steps and spikes."""

    kind: Literal["steps"]
    steps: Annotated[list[RateStep], Field(min_length=1)]
    cv: Variation = 1.0


class ClosedWorkload(Generated):
    """A closed loop: each of `users` starts the next session when the last one has ended."""

    kind: Literal["closed"]
    users: Count


Workload = Annotated[
    TraceWorkload
    | PoissonWorkload
    | ConstantWorkload
    | GammaWorkload
    | OnOffWorkload
    | DiurnalWorkload
    | StepsWorkload
    | ClosedWorkload
    | LikeWorkload,
    ByKind("kind"),
]
