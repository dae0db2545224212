"""The folder of a profile: CSV files that `timing: {kind: table}` reads, and what was measured on what.

Its layout is LLMServingSim's: `meta.yaml`, and `tpN/` with a file for each table.
"""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..files import whole_folder
from .plan import COLUMNS, Limits
from .run import TIMES, WARM_UP, Measured


def check_folder(folder: Path) -> None:
    """Raises InputError if something is there already: times that took an hour are not written over."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("is there already and not empty", file=str(folder), wanted="a new folder")


def meta(
    model: str, tensor: int, limits: Limits, device: dict[str, Any], measured: Sequence[Measured], version: str
) -> dict[str, Any]:
    spreads = defaultdict(list)
    for one in measured:
        spreads[one.task.table].append(one.spread)
    return {
        "profiler": f"servetwin {version}",
        **device,
        "profiled_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model,
        "variant": "bf16",
        "tp_degrees": [tensor],
        "engine_effective": {
            "max_num_batched_tokens": limits.tokens,
            "max_num_seqs": limits.rows,
            "max_model_len": limits.length,
        },
        "kernels": "torch's, eager; caches emptied before each; not an engine's own",
        "warm_up": WARM_UP,
        "measurement_iterations": TIMES,
        "median_spread": {table: round(statistics.median(found), 4) for table, found in spreads.items()},
    }


def write(folder: Path, tensor: int, measured: Sequence[Measured], described: dict[str, Any]) -> None:
    """All of it, or nothing. Raises InputError."""
    check_folder(folder)
    with whole_folder(folder) as draft:
        (draft / "meta.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
        ranks = draft / f"tp{tensor}"
        ranks.mkdir()
        for table, columns in COLUMNS.items():
            rows = [one for one in measured if one.task.table == table]
            if rows:
                _table(ranks / f"{table}.csv", columns, rows)


def _table(file: Path, columns: tuple[str, ...], rows: Sequence[Measured]) -> None:
    named = any(one.task.layer for one in rows)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*(["layer"] if named else []), *columns, "time_us"])
        for one in rows:
            writer.writerow([*([one.task.layer] if named else []), *one.task.sizes, f"{one.time_us:.6g}"])
