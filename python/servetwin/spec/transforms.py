"""`workload.transforms`: what is made of a workload before it runs, one step after the other."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import HORIZON_S, Count, PositiveShare, SpecModel

Second = Annotated[float, Field(ge=0, le=HORIZON_S)]


class Window(SpecModel):
    """Sessions that start in it, whole; its start becomes time 0."""

    start_s: Second = 0.0
    end_s: Annotated[float, Field(gt=0, le=HORIZON_S)] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Window:
        if not self.model_fields_set:
            raise ValueError("neither start_s nor end_s given: nothing is cut off")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s:g} is not after start_s {self.start_s:g}")
        return self


class Thin(SpecModel):
    """Keeps this share of the sessions, drawn one by one; or, with `rest`, the others. A number is a share."""

    share: PositiveShare
    rest: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"share": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Replicate(SpecModel):
    """Every session so many times, the n-th copy (n - 1)·`shift_s` later. A number is a number of copies."""

    copies: Annotated[int, Field(ge=2, le=1_000_000)]
    content: Literal["fresh", "same"] = "fresh"
    shift_s: Second = 0.0

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"copies": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Resample(SpecModel):
    """The bootstrap: as many sessions, drawn with replacement; or, with `block_s`, stretches of time of that length."""

    block_s: Annotated[float, Field(ge=0.001, le=HORIZON_S)] | None = None


class Transform(SpecModel):
    """One step: exactly one of these."""

    speedup: Annotated[float, Field(ge=0.001, le=1_000_000)] | None = None
    limit: Count | None = None
    window: Window | None = None
    merge: str | None = None
    resample: Resample | None = None
    thin: Thin | None = None
    replicate: Replicate | None = None

    @model_validator(mode="after")
    def _one(self) -> Transform:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"{len(given)} steps in one item; exactly one of {names}")
        return self
