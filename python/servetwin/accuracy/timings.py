"""Operator timings of aiconfigurator-core, as loads of ours and the seconds they took."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..catalog import GPUS
from ..errors import InputError, MissingDataError
from ..timing.aiconfigurator import SYSTEMS
from .readers import READERS
from .readers.base import Timing

__all__ = ["SYSTEMS", "data_folder", "timings"]

PACKAGE = "aiconfigurator_core"


def data_folder(given: Path | None) -> Path:
    """`given`, or that of the installed package. Raises MissingDataError if there is none."""
    folder = given
    if folder is None:
        found = importlib.util.find_spec(PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise MissingDataError(
                "aiconfigurator-core is not installed",
                wanted="`pip install aiconfigurator-core==0.12.0` (80 MB), or --data with the folder of its systems",
            )
        folder = Path(found.submodule_search_locations[0]) / "systems"
    if not (folder / "data").is_dir():
        raise InputError("holds no folder `data` with the timings", file=str(folder))
    return folder / "data"


def timings(folder: Path, operator: str, system: str) -> Iterator[Timing]:
    """Of one operator on one GPU; nothing where there are none.

    Rows that are faster than the peak, their data being in a cache, are left out.
    """
    gpu = GPUS[SYSTEMS[system]]
    for table in READERS[operator]:
        files = sorted((folder / system).glob(table.files), key=lambda file: _version(file.parent.name))
        for row in _rows(files[-1]) if files else ():
            try:
                timing = table.read(gpu, row)
            except KeyError as error:
                raise InputError("no column of this name", file=str(files[-1]), field=str(error.args[0])) from None
            if timing is not None and timing.seconds >= timing.load.roofline_s:
                yield timing


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdigit())


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"not Parquet: {error}", file=str(file)) from None
    for batch in table.iter_batches():
        columns = batch.to_pydict()
        names = list(columns)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))
