"""Requests that were measured, and points of sweeps, whatever file they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..workload.source import Source

MOST_LEFT_OUT = 0.1
"""Share of requests: with more left out, the load that was measured is not the one that would be simulated."""


@dataclass(frozen=True, slots=True)
class Request:
    """One that was answered. Times are picoseconds: `sent_ps` from any zero, the others from then on."""

    at: str
    """Where in the file."""
    sent_ps: int
    input_tokens: int
    output_tokens: int
    ttft_ps: int
    latency_ps: int

    @property
    def tpot_ps(self) -> float | None:
        """Between tokens; None for an answer of one."""
        gaps = self.output_tokens - 1
        return (self.latency_ps - self.ttft_ps) / gaps if gaps > 0 else None


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a sweep: means over `requests` requests, in picoseconds; None where they were not measured.

    `users` in a closed loop, or `rate_per_s` of random arrivals.
    """

    line: int
    users: int | None
    rate_per_s: float | None
    input_tokens: int
    output_tokens: int
    requests: int
    ttft_ps: float | None
    tpot_ps: float | None


@dataclass
class Measurement:
    """One file, or one benchmark of it.

    `requests` in the order they were sent, or `points` of a sweep. `users`: of a closed loop, where the file does not
    say when requests were sent. `blocks`: of each request, ids of the blocks of `block_tokens` tokens of its prompt, if
    the file tells; else prompts share nothing.
    """

    name: str
    format: str
    sha256: str
    requests: list[Request] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    users: int | None = None
    blocks: list[list[int]] | None = None
    block_tokens: int = 16
    left_out: Counter[str] = field(default_factory=Counter)
    front_end: bool = True
    """Whether times are a client's; else they were taken inside the engine."""


def usable(
    source: Source, format_: str, requests: Iterable[Request | str], *, name: str | None = None, **more: Any
) -> Measurement:
    """A measurement of the requests that can be used; a string says why one cannot. `more`: of its other fields.

    Raises InputError: none left, or more than a tenth left out.
    """
    kept: list[Request] = []
    left_out: Counter[str] = Counter()
    first: dict[str, str] = {}
    for one in requests:
        reason = one if isinstance(one, str) else _wrong(one)
        if reason is None:
            assert isinstance(one, Request)
            kept.append(one)
        else:
            left_out[reason] += 1
            first.setdefault(reason, one.at if isinstance(one, Request) else "")
    kept.sort(key=lambda one: one.sent_ps)
    measurement = Measurement(name or source.name, format_, source.sha256, kept, left_out=left_out, **more)
    refuse_many(measurement, first)
    return measurement


def refuse_many(measurement: Measurement, first: dict[str, str] | None = None) -> None:
    """Raises InputError if what was left out is more than a tenth, or all."""
    gone = measurement.left_out.total()
    every = gone + len(measurement.requests)
    if every and gone > MOST_LEFT_OUT * every:
        reason, count = measurement.left_out.most_common(1)[0]
        where = (first or {}).get(reason)
        raise InputError(
            f"{gone:,} of {every:,} requests cannot be used, most of them ({count:,}) because {reason}"
            + (f"; the first: {where}" if where else ""),
            file=measurement.name,
            wanted=f"at most {MOST_LEFT_OUT:.0%}: the load of the others is missing in what is simulated",
        )
    if not measurement.requests and not measurement.points:
        raise InputError("has no requests", file=measurement.name, wanted="measured requests, or a sweep")


def _wrong(request: Request) -> str | None:
    if request.output_tokens < 1:
        return "their answer has no tokens"
    if request.ttft_ps <= 0:
        return "their first token took no time"
    if request.ttft_ps > request.latency_ps:
        return "their first token comes after their end: are both in one unit?"
    return None
