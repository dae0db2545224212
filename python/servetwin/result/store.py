"""A result on disk: written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..errors import InputError
from .process import process_seconds
from .result import Result

FILES = ("requests.parquet", "series.parquet", "result.json")
"""In the order they are put in place: result.json last, so that it never describes tables that are not there."""

FEW_VALUES = ("replica", "preemptions", "status", "reason", "route_reason")
"""Columns that are stored as a dictionary."""


def check_writable(directory: Path) -> None:
    """Raises InputError for what cannot become a result's folder, before anything is computed."""
    if directory.exists() and not directory.is_dir():
        raise InputError("is a file, not a folder for results", file=str(directory))
    parent = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot be written: no permission for {parent}", file=str(directory))


def write(result: Result, directory: Path) -> None:
    """Puts the three files into `directory`, creating it; other files in it are left alone.

    They are first written in full beside it, so that a full disk or a crash before the end leaves an older
    result as it was. Raises InputError.
    """
    check_writable(directory)
    target = directory.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            _write_draft(result, draft)
            if not target.exists():
                draft.chmod(0o777 & ~_umask())
                draft.rename(target)
            else:
                for name in FILES:
                    (draft / name).replace(target / name)
            _sync(target.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=str(directory)) from None


def load(directory: str | Path) -> Result:
    """A result that was written before. Raises InputError if it is not one."""
    folder = Path(directory)
    file = folder / "result.json"
    try:
        stored = json.loads(file.read_bytes())
        return Result(
            status=stored["status"],
            summary=stored["summary"],
            provenance=stored["provenance"],
            rejections=stored["rejections"],
            stalled=stored["stalled"],
            timings=stored["timings"],
            _requests=lambda: _read_table(folder / "requests.parquet"),
            _series=lambda: _read_table(folder / "series.parquet"),
        )
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except (ValueError, KeyError, TypeError):
        raise InputError("not a result of servetwin", file=str(file)) from None


def _write_draft(result: Result, draft: Path) -> None:
    import pyarrow.parquet as pq

    for name, rows in (("requests.parquet", result.requests), ("series.parquet", result.series)):
        with (draft / name).open("wb") as file:
            # Times have no values in common: looking for them costs more time than the rest, and space.
            common = [name for name in FEW_VALUES if name in rows.column_names]
            pq.write_table(rows, file, compression="zstd", use_dictionary=common)
            _flush(file)
    result.timings["process_s"] = round(process_seconds(), 4)
    with (draft / "result.json").open("wb") as file:
        file.write(_json(result))
        _flush(file)


def _json(result: Result) -> bytes:
    fields = {
        "status": result.status,
        "summary": result.summary,
        "rejections": result.rejections,
        "stalled": result.stalled,
        "provenance": result.provenance,
        "timings": result.timings,
    }
    return json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _read_table(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file)
    except FileNotFoundError:
        raise InputError("is missing", file=str(file)) from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {str(error).splitlines()[0]}", file=str(file)) from None


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    # There is no way to read it but to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
