"""A trace from a file, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..native import native_errors
from .parquet import read_parquet

if TYPE_CHECKING:
    from .._core import Trace


def read_trace(
    path: str | Path,
    format: str = "auto",  # noqa: A002 - as the spec calls it
    *,
    block_tokens: int | None = None,
    limit: int | None = None,
    speedup: float = 1.0,
    max_output_tokens: int | None = None,
) -> Trace:
    """Reads a trace. Raises InputError with file, line and field."""
    from .._core import Trace

    if format == "auto":
        format = "parquet" if _starts(Path(path), b"PAR1") else "mooncake"  # noqa: A001
    if format == "parquet":
        return read_parquet(Path(path))
    with native_errors():
        return Trace.read_mooncake(
            str(path),
            block_tokens=block_tokens or 512,
            limit=limit,
            speedup=speedup,
            max_output_tokens=max_output_tokens,
        )


def _starts(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from None
