"""`slo` and `metrics`: what counts as served well, and which part of the run is measured."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from .base import HORIZON_S, Positive, PositiveShare, SpecModel


class Percentiles(SpecModel):
    """Limits on statistics of the whole run, in milliseconds."""

    mean: Positive | None = None
    min: Positive | None = None
    max: Positive | None = None
    p50: Positive | None = None
    p90: Positive | None = None
    p95: Positive | None = None
    p99: Positive | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Percentiles:
        if not self.model_fields_set:
            raise ValueError("names no statistic, such as p95")
        return self


def _form(value: Any) -> str:
    return "statistics" if isinstance(value, (dict, Percentiles)) else "number"


Limit = Annotated[Annotated[Positive, Tag("number")] | Annotated[Percentiles, Tag("statistics")], Discriminator(_form)]


class ServiceLevel(SpecModel):
    """A number limits every request, and `attainment` is the share of requests that must meet all such limits.

    A mapping such as `{p95: 500}` limits that statistic of the run instead.
    """

    ttft_ms: Limit | None = None
    tpot_ms: Limit | None = None
    e2e_ms: Limit | None = None
    attainment: PositiveShare = 0.95

    @property
    def limits_requests(self) -> bool:
        return any(isinstance(limit, float) for limit in (self.ttft_ms, self.tpot_ms, self.e2e_ms))


class Metrics(SpecModel):
    """What is measured, in seconds of simulated time since the first arrival.

    Requests that arrive before `warmup`, or `window` after it, run but are not counted.
    """

    warmup: Annotated[float, Field(ge=0, le=HORIZON_S)] = 0.0
    window: Annotated[float, Field(ge=1e-6, le=HORIZON_S)] | None = None
    series_interval: Annotated[float, Field(ge=0.001, le=HORIZON_S)] = 1.0
