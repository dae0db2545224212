"""The spec's workload as a columnar trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..native import native_errors
from ..spec import Spec
from ..spec.traffic import Generated
from ..spec.workload import LikeWorkload
from .generate import generator_config
from .like import like
from .read import read_trace

if TYPE_CHECKING:
    from .._core import Trace


def open_workload(spec: Spec) -> Trace:
    """Reads or generates it, and carries out its transforms.

    Raises SpecError without a trace or for what cannot be generated, InputError with file and line for a bad trace.
    """
    return workload_of_seeds(spec)(spec.seed)


def workload_of_seeds(spec: Spec) -> Callable[[int], Trace]:
    """How a seed makes the spec's workload; its trace is read once, now. Both raise as `open_workload` does."""
    make = _source(spec)
    steps = spec.workload.transforms
    if not steps:
        return make
    from .transform import transform

    def locate(index: int, path: str) -> Path:
        return spec.source.path(("workload", "transforms", index, "merge"), path)

    def transformed(seed: int) -> Trace:
        try:
            return transform(make(seed), steps, seed=seed, locate=locate)
        except InputError as error:
            if error.file is not None:
                raise
            index, name = (error.field or "").split(".")
            raise spec.source.problem(("workload", "transforms", int(index), name), error.message) from None

    return transformed


def _source(spec: Spec) -> Callable[[int], Trace]:
    from .._core import Trace

    options = spec.workload
    if isinstance(options, Generated):
        config = generator_config(spec, options)

        def generated(seed: int) -> Trace:
            try:
                with native_errors():
                    return Trace.generate(json.dumps(config | {"seed": seed}))
            except InputError as error:
                field = (error.field or "").removeprefix("arrivals.").split(".")
                raise spec.source.problem(("workload", *field), error.message) from None

        return generated
    if options.trace is None:
        raise spec.source.problem(
            ("workload", "trace"), "missing", wanted="the path of a trace, or --trace PATH, or a generated workload"
        )
    file = spec.source.path(("workload", "trace"), options.trace)
    reading: dict[str, Any] = {
        "block_tokens": options.block_tokens,
        "turns": options.turns,
        "time_unit": options.time_unit,
        "need_times": options.users is None,
    }
    if isinstance(options, LikeWorkload):
        original = read_trace(file, options.format, **reading)

        def alike(seed: int) -> Trace:
            try:
                return like(original, requests=options.requests, duration_s=options.duration_s, seed=seed)
            except InputError as error:
                raise spec.source.problem(("workload", *(error.field or "").split(".")), error.message) from None

        return alike
    trace = read_trace(
        file,
        options.format,
        limit=options.limit,
        speedup=options.speedup,
        max_output_tokens=options.max_output_tokens,
        **reading,
    )
    if options.users is not None and spec.was_set("workload", "speedup") and not trace.notes["later_turns"]:
        raise spec.source.problem(
            ("workload", "speedup"),
            "never read with users: a closed loop has no arrival times, and this trace no delays between turns",
            wanted="it left out",
        )
    return lambda seed: trace


def check_blocks(spec: Spec, trace: Trace, block_tokens: int) -> None:
    """Prefixes can only be found if the engine's blocks, of `block_tokens`, divide the trace's, or the other way round.
    Raises SpecError."""
    ours, theirs = block_tokens, trace.block_tokens
    if spec.engine.shares_prefixes and max(ours, theirs) % min(ours, theirs):
        larger = next(size for size in range(ours, ours + theirs) if size % theirs == 0 or theirs % size == 0)
        raise spec.source.problem(
            spec.engine.block_option,
            f"neither divides nor is divided by the trace's blocks of {theirs} tokens",
            found=str(ours),
            wanted=f"such as {larger}",
        )
