"""A result on disk: written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import STUDY, umask
from .columns import replication_type, request_types, series_types
from .process import process_seconds
from .replications import Replications
from .result import Result

FILES = ("requests.parquet", "series.parquet", "result.json")
"""In the order they are put in place: result.json last, so that it never describes tables that are not there."""

PAGE = "report.html"
"""The page of a result, which stands beside it if it was asked for."""

TIMELINE = "timeline.json.gz"
"""Likewise, of `servetwin timeline`."""

BESIDE = (PAGE, TIMELINE)

FEW_VALUES = ("replication", "replica", "preemptions", "status", "reason", "route_reason", "class")
"""Columns that are stored as a dictionary."""


VERSION = 1
"""Of the files' layout. It grows when older programs could misread a result."""

FIELDS = {"status": str, "summary": dict, "provenance": dict, "rejections": dict, "stalled": list, "timings": dict}
"""Of result.json."""

KNOWN: dict[str, type | tuple[type, ...]] = {
    "summary.completed": int,
    **dict.fromkeys(("provenance.servetwin", "provenance.python", "provenance.spec_sha256"), str),
    **dict.fromkeys(("provenance.spec", "provenance.workload", "provenance.engine", "provenance.timing"), dict),
    "provenance.seed": int,
    "provenance.workload.requests": int,
    **{f"provenance.workload.{name}": str for name in ("kind", "sha256")},
    **{f"provenance.engine.{name}": str for name in ("name", "version", "rules", "kv_cache", "kv_capacity")},
    **{f"provenance.timing.{name}": str for name in ("kind", "evidence")},
    "provenance.timing.assumptions": dict,
}
"""What is read within them, by dotted path."""


def check_writable(directory: Path) -> None:
    """Raises InputError for what cannot become a result's folder, before anything is computed."""
    try:
        if directory.exists() and not directory.is_dir():
            raise InputError("is a file, not a folder for results", file=str(directory))
        parent = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
        taken = [name for name in (*FILES, *BESIDE) if (directory / name).is_dir()]
        study = (directory / STUDY).exists()
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=str(directory)) from None
    if taken:
        raise InputError(f"cannot be written: {taken[0]} in it is a folder", file=str(directory))
    if study:
        raise InputError("holds a study of `servetwin plan`", file=str(directory), wanted="another folder")
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot be written: no permission for {parent}", file=str(directory))


def write(result: Result, directory: Path, page: str | None = None) -> None:
    """Puts the three files, and the page if there is one, into `directory`, creating it.

    Other files in it are left alone, but for the page and timeline of an older result: they would be taken for this
    one's.

    All are first written in full to a draft, so that a full disk or a crash before the end leaves an older
    result as it was. Raises InputError.
    """
    check_writable(directory)
    target = directory.absolute()
    made = [folder for folder in target.parents if not folder.exists()]
    # In a folder that exists already, so that no more is needed than to write there: it may be a mounted one.
    place = target if target.exists() else target.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=place))
        try:
            _write_draft(result, draft)
            if page is not None:
                with (draft / PAGE).open("wb") as file:
                    file.write(page.encode())
                    _flush(file)
            if place is target:
                _exchange(draft, target)
            else:
                draft.chmod(0o777 & ~umask())
                draft.rename(target)
            _sync(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise InputError(f"cannot be written: {error.strerror or error}", file=str(directory)) from None


def _exchange(draft: Path, target: Path) -> None:
    """Puts the draft's files in the place of the target's; those come back if that fails halfway.

    result.json goes first and comes last: whenever there is one, the tables beside it are its own.
    """
    kept = draft / "kept"
    kept.mkdir()
    moved: list[str] = []
    placed: list[str] = []
    try:
        for name in (*BESIDE, *reversed(FILES)):
            if (target / name).exists():
                (target / name).rename(kept / name)
                moved.append(name)
        for name in (*FILES, PAGE):
            if (draft / name).exists():
                (draft / name).rename(target / name)
                placed.append(name)
    except BaseException:
        for name in reversed(placed):
            (target / name).unlink()
        for name in reversed(moved):
            (kept / name).rename(target / name)
        raise


def load(directory: str | Path) -> Result:
    """A result that was written before. Raises InputError if it is not one."""
    folder = Path(directory)
    stored = _read_result(folder / "result.json")
    replications = stored.get("replications")
    if replications is not None:
        replications = Replications.of_json(
            replications,
            str(folder / "result.json"),
            lambda: _read_table(folder / "requests.parquet", request_types() | replication_type()),
        )
    return Result(
        **{name: stored[name] for name in FIELDS},
        _requests=lambda: _read_requests(folder, stored),
        _series=lambda: _read_table(folder / "series.parquet", series_types()),
        replications=replications,
    )


def _read_requests(folder: Path, stored: dict[str, Any]) -> Any:
    """Those of the run without draws."""
    rows = stored["provenance"]["workload"]["requests"]
    file, types = folder / "requests.parquet", request_types()
    if "replications" not in stored:
        return _read_table(file, types, rows)
    return _read_table(file, types | replication_type(), rows, [("replication", "=", 0)]).drop_columns("replication")


def _read_result(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(
            "is missing" if file.parent.is_dir() else "there is no such folder",
            file=str(file if file.parent.is_dir() else file.parent),
            wanted="a folder that simulate --out wrote",
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise InputError("not a result of servetwin", file=str(file), wanted="a JSON object")
    version = stored.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        raise InputError(
            "written by a newer servetwin",
            file=str(file),
            field="version",
            found=str(version),
            wanted=f"at most {VERSION}, or a newer servetwin",
        )
    for path, kind in {**FIELDS, **KNOWN}.items():
        if not isinstance(_at(stored, path), kind):
            raise InputError("not a result of servetwin: missing, or of another kind", file=str(file), field=path)
    return stored


def _at(stored: Any, path: str) -> Any:
    """What a dotted path leads to; None if it leads nowhere."""
    for name in path.split("."):
        stored = stored.get(name) if isinstance(stored, dict) else None
    return stored


def _write_draft(result: Result, draft: Path) -> None:
    import pyarrow.parquet as pq

    requests = result.requests if result.replications is None else result.replications.requests
    for name, rows in (("requests.parquet", requests), ("series.parquet", result.series)):
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
    fields = {"version": VERSION} | {name: getattr(result, name) for name in FIELDS}
    if result.replications is not None:
        fields["replications"] = result.replications.as_json()
    return json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _read_table(
    file: Path, columns: Mapping[str, Any], rows: int | None = None, filters: list[tuple[str, str, Any]] | None = None
) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, filters=filters)
    except FileNotFoundError:
        raise InputError("is missing", file=str(file)) from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {str(error).splitlines()[0]}", file=str(file)) from None
    for name, wanted in columns.items():
        if name not in table.column_names:
            raise InputError("not a table of this kind: the column is missing", file=str(file), field=name)
        found = table.schema.field(name).type
        if found != wanted:
            raise InputError(
                "not a table of this kind", file=str(file), field=name, found=str(found), wanted=str(wanted)
            )
    if rows is not None and table.num_rows != rows:
        raise InputError(
            f"not of the run that result.json beside it describes: {table.num_rows} requests, not {rows}",
            file=str(file),
        )
    return table


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
