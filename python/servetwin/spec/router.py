"""`router`: which replica a request goes to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import SpecModel

Staleness = Annotated[float, Field(ge=0, le=86_400_000)]
"""Milliseconds, up to a day."""


class RoundRobinRouter(SpecModel):
    """Each replica in turn; looks at nothing."""

    kind: Literal["round_robin"] = "round_robin"


class RandomRouter(SpecModel):
    """Any replica, by the run's seed; looks at nothing."""

    kind: Literal["random"]


class LeastRequestsRouter(SpecModel):
    """The replica with the fewest requests waiting or running, now; the lowest index among equals."""

    kind: Literal["least_requests"]


class PythonRouter(SpecModel):
    """A class of one's own: `module:Class` or `file.py:Class`, a file being sought beside the spec.

    What it sees was sampled at the last multiple of `interval_ms` at least `delay_ms` ago; 0 and 0 is the present.
    """

    kind: Literal["python"]
    object: Annotated[str, Field(pattern=r"^.+:[A-Za-z_][A-Za-z0-9_.]*$")]
    interval_ms: Staleness = 0.0
    delay_ms: Staleness = 0.0


Router = Annotated[RoundRobinRouter | RandomRouter | LeastRequestsRouter | PythonRouter, Field(discriminator="kind")]
