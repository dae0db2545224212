"""A trace from a file, whatever its format."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..native import native_errors
from .detect import FORMATS, detect
from .source import Source
from .table import Options, Table, assemble, refuse_unit

if TYPE_CHECKING:
    from .._core import Trace

READERS = {
    "azure": ".formats.azure:read_azure",
    "burstgpt": ".formats.burstgpt:read_burstgpt",
    "bailian": ".formats.bailian:read_bailian",
    "sharegpt": ".formats.sharegpt:read_sharegpt",
    "dynamo": ".formats.dynamo:read_dynamo",
    "aiperf": ".formats.aiperf:read_aiperf",
    "guidellm": ".formats.guidellm:read_guidellm",
    "agentic": ".formats.agentic:read_agentic",
    "applied_compute_agentic": ".formats.applied_compute:read_applied_compute",
    "table": ".formats.plain:read_plain",
    "parquet": ".parquet:read_parquet",
}
MOONCAKE_BLOCK_TOKENS = 512


def read_trace(
    path: str | Path,
    format: str = "auto",  # noqa: A002 - as the spec calls it
    *,
    block_tokens: int | None = None,
    limit: int | None = None,
    speedup: float = 1.0,
    max_output_tokens: int | None = None,
    turns: str | None = None,
    time_unit: str | None = None,
    need_times: bool = True,
) -> Trace:
    """Reads a trace of any known format, packed (gzip, zstd) or not; whole or not at all.

    Args:
        format: one of `FORMATS`, or `auto` to tell it by the content.
        block_tokens: tokens an id stands for, where the file does not say.
        limit: only the first so many rows.
        speedup: divides arrival times and delays.
        max_output_tokens: what clients ask for; else what each row says, or its real length.
        turns: what rows of a session mean: `cumulative` (whole prompts), `delta` (what is new in them), `separate`.
        time_unit: of a column that does not name it: s, ms, us, ns or ps.
        need_times: False takes a trace that says nothing of when requests arrive, for a closed loop.

    Raises InputError with file, line and field.
    """
    options = Options(block_tokens, limit, speedup, max_output_tokens, turns, time_unit, need_times)
    return read_source(Source(path), format, options)


def read_source(source: Source, format: str, options: Options) -> Trace:  # noqa: A002 - as the spec calls it
    """The same for a file that is open, or was never one."""
    if format not in ("auto", *FORMATS):
        raise InputError("no such format", field="format", found=format, wanted=f"auto, {', '.join(FORMATS)}")
    kind = detect(source) if format == "auto" else format
    if source.is_parquet != (kind == "parquet"):
        kind_found = "a Parquet file" if source.is_parquet else "no Parquet file"
        raise source.problem(f"is {kind_found}", field="format", found=kind, wanted="auto, or the format it has")
    try:
        return _read(source, kind, options)
    except InputError as error:
        if format != "auto" and (other := _looks_like(source)) not in (None, format):
            error.add_note(f"read as format {format}, as it was named; the content looks like {other}")
        raise


def _read(source: Source, kind: str, options: Options) -> Trace:
    if kind == "mooncake":
        return _read_mooncake(source, options)
    module, _, name = READERS[kind].partition(":")
    reader: Callable[[Source, Options], Table] = getattr(importlib.import_module(module, __package__), name)
    return assemble(source, reader(source, options), options)


def _looks_like(source: Source) -> str | None:
    try:
        return detect(source)
    except InputError:
        return None


def _read_mooncake(source: Source, options: Options) -> Trace:
    from .._core import Trace

    refuse_unit(source, options, "milliseconds")
    with native_errors():
        return Trace.read_mooncake(
            source.name,
            text=source.data if source.packed or source.path is None else None,
            block_tokens=options.block_tokens or MOONCAKE_BLOCK_TOKENS,
            limit=options.limit,
            speedup=options.speedup,
            max_output_tokens=options.max_output_tokens,
            turns=options.turns,
        )
