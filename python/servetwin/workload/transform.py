"""Transforms of a trace, from a spec, the command line or Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..errors import InputError, SpecError
from ..native import native_errors
from ..spec.lines import parse_value
from ..spec.transforms import Transform
from ..units import PS_PER_S, nearest_ps

if TYPE_CHECKING:
    from .._core import Trace

MAPPINGS = {
    "window": "{start_s: 10, end_s: 70}",
    "resample": "{}, or {block_s: 60}",
    "thin": "0.5, or {share: 0.5, rest: true}",
    "replicate": "2, or {copies: 2, content: same}",
}
"""How steps with options of their own are written."""


def transform(
    trace: Trace,
    steps: Iterable[Transform | Mapping[str, Any] | str],
    *,
    seed: int = 0,
    locate: Callable[[int, str], Path] | None = None,
) -> Trace:
    """The trace after these steps, in order: `{"speedup": 2}`, or as on the command line, `"speedup=2"`.

    `seed` is that of what is drawn; each step draws from its own stream. `locate`: where the path of the n-th step's
    trace leads; left out, as it is written. Raises InputError, its field being the number and the name of the step.
    """
    from .._core import Trace
    from .read import read_trace

    for index, step in enumerate(steps):
        step = _step(index, step)
        if step.merge is not None:
            other = read_trace(step.merge if locate is None else locate(index, step.merge))
        try:
            with native_errors():
                if step.merge is not None:
                    trace = Trace.merge([trace, other])
                else:
                    trace = trace.transform(json.dumps([_native(step, (seed + index) % 2**63)]))
        except InputError as error:
            name = next(iter(step.model_fields_set))
            raise InputError(error.message, file=error.file, field=f"{index}.{name}") from None
    return trace


def _step(index: int, step: Transform | Mapping[str, Any] | str) -> Transform:
    if isinstance(step, Transform):
        return step
    if isinstance(step, str):
        name, equals, text = step.partition("=")
        if not equals or not text.strip():
            raise InputError(
                "not of the form name=value", field=str(index), found=step, wanted="such as speedup=2 or thin=0.5"
            )
        try:
            step = {name.strip(): parse_value(text, step)}
        except SpecError as error:
            raise InputError(error.message, field=f"{index}.{name.strip()}") from None
    try:
        return Transform.model_validate(step)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        if details["type"] == "extra_forbidden" and len(details["loc"]) == 1:
            known = ", ".join(Transform.model_fields)
            raise InputError("no such step", field=f"{index}.{details['loc'][0]}", wanted=f"one of {known}") from None
        field = ".".join(map(str, (index, *details["loc"])))
        if details["type"] == "extra_forbidden":
            raise InputError("no such option", field=field) from None
        if details["type"] == "missing":
            raise InputError("missing", field=field) from None
        found = json.dumps(details["input"], default=str)
        if details["type"] in ("model_type", "model_attributes_type"):
            name = str(details["loc"][0])
            raise InputError("not a mapping", field=field, found=found, wanted=f"such as {MAPPINGS[name]}") from None
        message = str(details.get("ctx", {}).get("error", details["msg"].replace("Input should be", "must be")))
        raise InputError(message, field=field, found=found) from None


def _native(step: Transform, seed: int) -> dict[str, Any]:
    """The step as the core wants it; each has a stream of its own."""
    if step.speedup is not None:
        return {"kind": "speedup", "factor": step.speedup}
    if step.limit is not None:
        return {"kind": "limit", "requests": step.limit}
    if step.window is not None:
        return {
            "kind": "window",
            "start_ps": nearest_ps(step.window.start_s, PS_PER_S),
            "end_ps": None if step.window.end_s is None else nearest_ps(step.window.end_s, PS_PER_S),
        }
    if step.thin is not None:
        return {"kind": "thin", "share": step.thin.share, "rest": step.thin.rest, "seed": seed}
    if step.replicate is not None:
        copies = step.replicate
        shift_ps = nearest_ps(copies.shift_s, PS_PER_S)
        return {
            "kind": "replicate",
            "copies": copies.copies,
            "shift_ps": shift_ps,
            "fresh": copies.content == "fresh",
        }
    assert step.resample is not None  # exactly one is given, and merge is no step of the core's
    block_s = step.resample.block_s
    return {"kind": "resample", "block_ps": None if block_s is None else nearest_ps(block_s, PS_PER_S), "seed": seed}
