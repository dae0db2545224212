"""A generated workload, as the core's generator wants it described."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..spec import Spec
from ..spec.lines import KeyPath
from ..spec.traffic import Durations, Generated, Lengths, OpenLoop, OutputFactor, SharedPrefix, TrafficClass
from ..spec.workload import (
    ConstantWorkload,
    DiurnalWorkload,
    GammaWorkload,
    OnOffWorkload,
    PoissonWorkload,
    StepsWorkload,
)
from ..units import PS_PER_S, nearest_ps

MAX_BLOCK_TOKENS = 512
"""Content is described in blocks as large as the engine's allow, up to this: fewer ids, the same sharing."""


def generator_config(spec: Spec, options: Generated) -> dict[str, Any]:
    """Raises SpecError or InputError for lengths of a trace that cannot be read."""
    block_size = spec.engine.block_tokens
    classes = list(_classes(options))
    block_tokens = _block_tokens(block_size, [traffic for _, traffic, _ in classes])
    duration_s = options.duration_s if isinstance(options, OpenLoop) else None
    return {
        "requests": options.requests,
        "duration_ps": None if duration_s is None else nearest_ps(duration_s, PS_PER_S),
        "seed": spec.seed,
        "block_tokens": block_tokens,
        "arrivals": _arrivals(options),
        "classes": [_class(spec, name, traffic, path, block_size) for name, traffic, path in classes],
    }


def _classes(options: Generated) -> Iterator[tuple[str | None, Generated | TrafficClass, KeyPath]]:
    if options.classes is None:
        yield None, options, ("workload",)
    else:
        for name, traffic in options.classes.items():
            yield name, traffic, ("workload", "classes", name)


def _arrivals(options: Generated) -> dict[str, Any]:
    match options:
        case PoissonWorkload():
            return _open(1.0, kind="constant", per_s=options.rate_per_s)
        case ConstantWorkload():
            return _open(None, kind="constant", per_s=options.rate_per_s)
        case GammaWorkload():
            return _open(options.cv, kind="constant", per_s=options.rate_per_s)
        case OnOffWorkload():
            return _open(
                options.cv,
                kind="on_off",
                on_per_s=options.on_rate_per_s,
                off_per_s=options.off_rate_per_s,
                on_s=options.on_s,
                off_s=options.off_s,
            )
        case DiurnalWorkload():
            return _open(
                options.cv,
                kind="diurnal",
                low_per_s=options.low_rate_per_s,
                high_per_s=options.high_rate_per_s,
                high_at_s=options.high_at_s,
                day_s=options.day_s,
            )
        case StepsWorkload():
            return _open(options.cv, kind="steps", steps=[step.model_dump() for step in options.steps])
        case _:
            return {"kind": "at_once"}


def _open(cv: float | None, **rate: Any) -> dict[str, Any]:
    return {"kind": "open", "gaps": {"cv": cv}, "rate": rate}


def _block_tokens(block_size: int, classes: list[Generated | TrafficClass]) -> int:
    """The size of the trace's blocks. A later turn shares what the one before ends with, to the engine's block."""
    if any(traffic.sessions is not None for traffic in classes):
        return block_size
    prefixes = [_whole_blocks(traffic.prefix, block_size) for traffic in classes]
    block_tokens = block_size
    while block_tokens * 2 <= MAX_BLOCK_TOKENS and all(tokens % (block_tokens * 2) == 0 for tokens in prefixes):
        block_tokens *= 2
    return block_tokens


def _whole_blocks(prefix: SharedPrefix | None, block_size: int) -> int:
    """The prefix in whole engine blocks: a block shared in part is not shared."""
    return prefix.tokens // block_size * block_size if prefix is not None else 0


def _class(
    spec: Spec, name: str | None, traffic: Generated | TrafficClass, path: KeyPath, block_size: int
) -> dict[str, Any]:
    assert traffic.input_tokens is not None  # as the spec's own check has it
    assert traffic.output_tokens is not None
    sessions = traffic.sessions
    return {
        "name": name,
        "share": traffic.share if isinstance(traffic, TrafficClass) else 1.0,
        "input_tokens": _lengths(spec, traffic.input_tokens, (*path, "input_tokens")),
        "output_tokens": _lengths(spec, traffic.output_tokens, (*path, "output_tokens")),
        "max_output_tokens": _limit(traffic.max_output_tokens),
        "prefix": _prefix(traffic.prefix, _whole_blocks(traffic.prefix, block_size)),
        "sessions": None
        if sessions is None
        else {
            "turns": _lengths(spec, sessions.turns, (*path, "sessions", "turns")),
            "new_tokens": _lengths(spec, sessions.new_tokens, (*path, "sessions", "new_tokens")),
            "think_time_ms": _durations(sessions.think_time_s),
            "max_context_tokens": sessions.max_context_tokens,
        },
    }


def _limit(limit: int | OutputFactor | None) -> dict[str, Any] | None:
    if isinstance(limit, OutputFactor):
        return {"kind": "factor", "factor": limit.factor}
    return None if limit is None else {"kind": "fixed", "tokens": limit}


def _lengths(spec: Spec, lengths: Lengths, path: KeyPath) -> dict[str, Any]:
    if lengths.trace is not None:
        return _column(spec, (*path, "trace"), lengths.trace, str(path[-1]))
    if lengths.values is not None:
        return {"kind": "empirical", "values": lengths.values, "weights": lengths.weights}
    if lengths.p99 is None:
        return {"kind": "constant", "value": int(lengths.p50 or 0)}
    return _lognormal(lengths.p50, lengths.p99, lengths.min, lengths.max)


def _column(spec: Spec, path: KeyPath, trace: str, name: str) -> dict[str, Any]:
    from .read import read_trace

    column = memoryview(read_trace(spec.source.path(path, trace)).column(name)).cast("I")
    counts = sorted(Counter(column.tolist()).items())
    return {"kind": "empirical", "values": [value for value, _ in counts], "weights": [count for _, count in counts]}


def _durations(durations: Durations) -> dict[str, Any]:
    if durations.values is not None:
        return {"kind": "empirical", "values": [_ms(value) for value in durations.values], "weights": durations.weights}
    assert durations.p50 is not None  # as the model has it
    assert durations.p99 is not None
    most = None if durations.max is None else _ms(durations.max)
    return _lognormal(durations.p50 * 1000, durations.p99 * 1000, _ms(durations.min or 0), most)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _lognormal(p50: float | None, p99: float, least: int | None, most: int | None) -> dict[str, Any]:
    limits = {name: value for name, value in (("min", least), ("max", most)) if value is not None}
    return {"kind": "lognormal", "p50": p50, "p99": p99, **limits}


def _prefix(prefix: SharedPrefix | None, tokens: int) -> dict[str, Any] | None:
    if prefix is None or tokens == 0:
        return None
    choice = {"kind": "uniform"} if prefix.zipf is None else {"kind": "zipf", "exponent": prefix.zipf}
    return {"groups": prefix.groups, "tokens": tokens, "share": prefix.share, "choice": choice}
