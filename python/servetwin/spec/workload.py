"""`workload`: the requests, from a trace or generated from the run's seed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Count, PositiveShare, SpecModel

MAX_TOKENS = 1_000_000_000
"""More in one prompt or answer are taken for a mistake, here and in the core."""

Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


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
    "table",
    "parquet",
]


class TraceWorkload(SpecModel):
    """Requests of a recorded trace. With `users` the trace is a closed loop's list: arrival times are not read."""

    kind: Literal["trace"] = "trace"
    trace: str | None = None
    format: Literal["auto"] | TraceFormat = "auto"
    block_tokens: Annotated[int, Field(ge=1, le=2**20)] | None = None
    turns: Literal["cumulative", "delta", "separate"] | None = None
    time_unit: Literal["s", "ms", "us", "ns", "ps"] | None = None
    speedup: Annotated[float, Field(ge=0.001, le=1_000_000)] = 1.0
    limit: Count | None = None
    max_output_tokens: Tokens | None = None
    users: Count | None = None


class Lengths(SpecModel):
    """Lognormal token counts with this median and 99th percentile, cut to `min` and `max`; a number is a fixed one."""

    p50: Annotated[float, Field(gt=0, le=MAX_TOKENS)]
    p99: Annotated[float, Field(gt=0, le=MAX_TOKENS)] | None = None
    min: Tokens | None = None
    max: Tokens | None = None

    @model_validator(mode="before")
    @classmethod
    def _fixed(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"p50": value}
        if not isinstance(value, (dict, Lengths)):
            raise ValueError("neither a whole number nor a distribution such as {p50: 100, p99: 400}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Lengths:
        if self.p99 is None:
            if self.model_fields_set != {"p50"} or self.p50 != int(self.p50):
                raise ValueError("a fixed length is one whole number; a distribution needs p50 and p99")
        elif self.p99 < self.p50:
            raise ValueError(f"p99 {self.p99:g} is below p50 {self.p50:g}")
        name, most = ("p50", self.p50) if self.max is None else ("max", self.max)
        if most < (self.min or 1):
            raise ValueError(f"{name} {most:g} is below min {self.min or 1}")
        return self


class SharedPrefix(SpecModel):
    """This share of the requests begins with one of `groups` prompts of `tokens` tokens, cut to the request's own.

    The groups are equally popular, or as 1/rank^`zipf`.
    """

    groups: Annotated[int, Field(ge=1, le=10_000_000)]
    tokens: Tokens
    share: PositiveShare = 1.0
    zipf: Annotated[float, Field(gt=0, le=10)] | None = None


class Generated(SpecModel):
    requests: Annotated[int, Field(ge=1, le=1_000_000_000)]
    input_tokens: Lengths
    output_tokens: Lengths
    prefix: SharedPrefix | None = None
    max_output_tokens: Tokens | None = None


class PoissonWorkload(Generated):
    """An open loop: arrivals of a Poisson process."""

    kind: Literal["poisson"]
    rate_per_s: Annotated[float, Field(gt=0, le=1e9)]


class ClosedWorkload(Generated):
    """A closed loop: each of `users` sends its next request when the last one ends."""

    kind: Literal["closed"]
    users: Count


Workload = Annotated[TraceWorkload | PoissonWorkload | ClosedWorkload, Field(discriminator="kind")]
