"""`workload`: the requests, from a trace or generated from the run's seed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Count, Positive, Share, SpecModel


class TraceWorkload(SpecModel):
    """Requests of a recorded trace. With `users` the trace is a closed loop's list: timestamps are not read."""

    kind: Literal["trace"] = "trace"
    trace: str | None = None
    format: Literal["mooncake"] = "mooncake"
    block_tokens: Count = 512
    speedup: Positive = 1.0
    limit: Count | None = None
    max_output_tokens: Count | None = None
    users: Count | None = None


class Lengths(SpecModel):
    """Lognormal token counts with this median and 99th percentile, cut to `min` and `max`; a number is a fixed one."""

    p50: Positive
    p99: Positive | None = None
    min: Count | None = None
    max: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _fixed(cls, value: Any) -> Any:
        return {"p50": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _consistent(self) -> Lengths:
        if self.p99 is None:
            if self.model_fields_set != {"p50"} or self.p50 != int(self.p50):
                raise ValueError("a fixed length is one whole number; a distribution needs p50 and p99")
        elif self.p99 < self.p50:
            raise ValueError(f"p99 {self.p99:g} is below p50 {self.p50:g}")
        if (self.max or self.p50) < (self.min or 1):
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


class SharedPrefix(SpecModel):
    """This share of the requests begins with one of `groups` prompts of `tokens` tokens, cut to the request's own.

    The groups are equally popular, or as 1/rank^`zipf`.
    """

    groups: Count
    tokens: Count
    share: Share = 1.0
    zipf: Positive | None = None


class Generated(SpecModel):
    requests: Count
    input_tokens: Lengths
    output_tokens: Lengths
    prefix: SharedPrefix | None = None
    max_output_tokens: Count | None = None


class PoissonWorkload(Generated):
    """An open loop: arrivals of a Poisson process."""

    kind: Literal["poisson"]
    rate_per_s: Positive


class ClosedWorkload(Generated):
    """A closed loop: each of `users` sends its next request when the last one ends."""

    kind: Literal["closed"]
    users: Count


Workload = Annotated[TraceWorkload | PoissonWorkload | ClosedWorkload, Field(discriminator="kind")]
