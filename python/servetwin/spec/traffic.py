"""What requests of a generated workload are like: lengths, shared beginnings, sessions, classes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from .base import HORIZON_S, PositiveShare, SpecModel
from .transforms import Transform

MAX_TOKENS = 1_000_000_000
"""More in one prompt or answer are taken for a mistake, here and in the core."""

Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
Span = Annotated[float, Field(ge=0, le=MAX_TOKENS / 1000)]
"""Seconds, of whole milliseconds."""


class Lengths(SpecModel):
    """Token counts: lognormal with this median and 99th percentile, cut to `min` and `max`; or one of `values`, each
    as likely as its entry in `weights`; or those of a `trace`'s rows. A number is a fixed length."""

    p50: Annotated[float, Field(gt=0, le=MAX_TOKENS)] | None = None
    p99: Annotated[float, Field(gt=0, le=MAX_TOKENS)] | None = None
    min: Tokens | None = None
    max: Tokens | None = None
    values: list[Annotated[int, Field(ge=0, le=MAX_TOKENS)]] | None = None
    weights: list[Annotated[float, Field(ge=0)]] | None = None
    trace: str | None = None

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
        ways = [name for name in ("p50", "values", "trace") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError(f"{' and '.join(ways) or 'nothing'} given; one of p50, values and trace is needed")
        _one_way(self, ways[0], {"p50": ("p99", "min", "max"), "values": ("weights",), "trace": ()})
        if self.p50 is not None:
            _lognormal(self.p50, self.p99, self.min, self.max, self.model_fields_set)
        if self.values is not None:
            _histogram(self.values, self.weights)
        return self


class Durations(SpecModel):
    """Seconds: lognormal with this median and 99th percentile, cut to `min` and `max`; or one of `values`, each as
    likely as its entry in `weights`. A number is a fixed one. Drawn in whole milliseconds."""

    p50: Annotated[float, Field(ge=0.001, le=MAX_TOKENS / 1000)] | None = None
    p99: Annotated[float, Field(ge=0.001, le=MAX_TOKENS / 1000)] | None = None
    min: Span | None = None
    max: Span | None = None
    values: list[Span] | None = None
    weights: list[Annotated[float, Field(ge=0)]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fixed(cls, value: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {"values": [value]}
        if not isinstance(value, (dict, Durations)):
            raise ValueError("neither a number of seconds nor a distribution such as {p50: 5, p99: 60}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Durations:
        ways = [name for name in ("p50", "values") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError(f"{' and '.join(ways) or 'nothing'} given; one of p50 and values is needed")
        _one_way(self, ways[0], {"p50": ("p99", "min", "max"), "values": ("weights",)})
        if self.p50 is not None:
            if self.p99 is None:
                raise ValueError("p50 without p99; a fixed time is one number")
            _ordered(self.p50, self.p99, self.min, self.max, 0)
        if self.values is not None:
            _histogram(self.values, self.weights)
        return self


def _one_way(given: SpecModel, way: str, options: dict[str, tuple[str, ...]]) -> None:
    for other, names in options.items():
        for name in names:
            if other != way and getattr(given, name) is not None:
                raise ValueError(f"{name} is never read beside {way}")


def _lognormal(p50: float, p99: float | None, least: int | None, most: int | None, given: set[str]) -> None:
    if p99 is None and (given != {"p50"} or p50 != int(p50)):
        raise ValueError("a fixed length is one whole number; a distribution needs p50 and p99")
    _ordered(p50, p99, least, most, 1)


def _ordered(p50: float, p99: float | None, least: float | None, most: float | None, lowest: int) -> None:
    if p99 is not None and p99 < p50:
        raise ValueError(f"p99 {p99:g} is below p50 {p50:g}")
    name, highest = ("max", most) if most is not None else ("p50", p50)
    if highest < (least or lowest):
        raise ValueError(f"{name} {highest:g} is below min {least or lowest:g}")


def _histogram(values: list[Any], weights: list[float] | None) -> None:
    if not values:
        raise ValueError("values is empty; nothing can be drawn from it")
    if weights is not None and len(weights) != len(values):
        raise ValueError(f"{len(weights)} weights for {len(values)} values")
    if weights is not None and not any(weights):
        raise ValueError("all weights are 0; nothing can be drawn")


class SharedPrefix(SpecModel):
    """This share of the sessions begins with one of `groups` prompts of `tokens` tokens, cut to the first turn's own.

    The groups are equally popular, or as 1/rank^`zipf`.
    """

    groups: Annotated[int, Field(ge=1, le=10_000_000)]
    tokens: Tokens
    share: PositiveShare = 1.0
    zipf: Annotated[float, Field(gt=0, le=10)] | None = None


class OutputFactor(SpecModel):
    """Clients ask for `factor` times the real length, rounded up: servers know no more of an answer than that."""

    factor: Annotated[float, Field(ge=1, le=1_000_000)]


def _form(value: Any) -> str:
    return "factor" if isinstance(value, (dict, OutputFactor)) else "number"


OutputLimit = Annotated[Annotated[Tokens, Tag("number")] | Annotated[OutputFactor, Tag("factor")], Discriminator(_form)]


class Sessions(SpecModel):
    """Conversations. Each turn's prompt is the one before, its answer, and `new_tokens` more."""

    turns: Lengths
    new_tokens: Lengths
    think_time_s: Durations
    max_context_tokens: Tokens | None = None

    @model_validator(mode="after")
    def _no_columns(self) -> Sessions:
        if self.turns.trace is not None or self.new_tokens.trace is not None:
            raise ValueError("only input_tokens and output_tokens can be those of a trace")
        return self


class Traffic(SpecModel):
    max_output_tokens: OutputLimit | None = None
    prefix: SharedPrefix | None = None
    sessions: Sessions | None = None


class TrafficClass(Traffic):
    """One of several sorts of traffic: this share of the sessions."""

    share: PositiveShare
    input_tokens: Lengths
    output_tokens: Lengths


Classes = Annotated[dict[Annotated[str, Field(min_length=1)], TrafficClass], Field(min_length=1)]


class Generated(Traffic):
    """Traffic of one sort, or a mix of `classes`."""

    requests: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    input_tokens: Lengths | None = None
    output_tokens: Lengths | None = None
    classes: Classes | None = None
    transforms: list[Transform] = Field(default_factory=list)


class OpenLoop(Generated):
    """Sessions start by themselves."""

    duration_s: Annotated[float, Field(gt=0, le=HORIZON_S)] | None = None


Rate = Annotated[float, Field(gt=0, le=1e9)]
RateOrZero = Annotated[float, Field(ge=0, le=1e9)]
Variation = Annotated[float, Field(ge=0.001, le=1000)]
