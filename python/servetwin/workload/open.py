"""The spec's workload as a columnar trace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..errors import InputError
from ..native import native_errors
from ..spec import Spec
from ..spec.workload import TraceWorkload
from .generate import generator_config

if TYPE_CHECKING:
    from .._core import Trace


def open_workload(spec: Spec) -> Trace:
    """Reads or generates it.

    Raises SpecError without a trace or for what cannot be generated, InputError with file and line for a bad trace.
    """
    from .._core import Trace

    options = spec.workload
    if not isinstance(options, TraceWorkload):
        try:
            with native_errors():
                return Trace.generate(json.dumps(generator_config(spec, options)))
        except InputError as error:
            field = (error.field or "").removeprefix("arrivals.").split(".")
            raise spec.source.problem(("workload", *field), error.message) from None
    if options.trace is None:
        raise spec.source.problem(
            ("workload", "trace"), "missing", wanted="the path of a trace, or --trace PATH, or a generated workload"
        )
    file = spec.source.path(("workload", "trace"), options.trace)
    with native_errors():
        return Trace.read_mooncake(
            str(file),
            block_tokens=options.block_tokens,
            limit=options.limit,
            speedup=options.speedup,
            max_output_tokens=options.max_output_tokens,
        )


def check_blocks(spec: Spec, trace: Trace) -> None:
    """Prefixes can only be found if engine blocks divide the trace's, or the other way round. Raises SpecError."""
    ours, theirs = spec.engine.block_tokens, trace.block_tokens
    if spec.engine.shares_prefixes and max(ours, theirs) % min(ours, theirs):
        raise spec.source.problem(
            spec.engine.block_option,
            f"neither divides nor is divided by the trace's blocks of {theirs} tokens",
            found=str(ours),
        )
