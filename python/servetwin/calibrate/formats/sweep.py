"""A sweep: a row of means for each number of users, or each rate. CSV, or a JSON list of objects.

users | concurrency | max_concurrency        requests at a time, or
rate_per_s | request_rate                    random arrivals
input_tokens | isl                           of every request
output_tokens | osl
ttft_ms, tpot_ms                             means; _ms, _s or _us says the unit; either may be missing
requests | num_prompts                       of each row; ten for each user if missing, 200 of a rate
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from ...workload.jsonrows import parse
from ...workload.source import Source
from ..measured import Measurement, Point

USERS = ("users", "concurrency", "max_concurrency")
RATE = ("rate_per_s", "request_rate")
INPUT = ("input_tokens", "isl", "input_len", "prompt_tokens")
OUTPUT = ("output_tokens", "osl", "output_len")
REQUESTS = ("requests", "num_prompts")
UNITS_PS = {"us": 1e6, "ms": 1e9, "s": 1e12}
TIMES = {"ttft": ("ttft", "mean_ttft", "ttft_mean"), "tpot": ("tpot", "mean_tpot", "tpot_mean", "itl", "mean_itl")}
EACH_USER, OF_A_RATE = 10, 200


def read_sweep(source: Source) -> list[Measurement]:
    """Raises InputError: no column of a name above, a time without a unit or in two, a value that is no number."""
    points = [_point(source, line, row) for line, row in _rows(source)]
    if not points:
        raise source.problem("has no rows", wanted="a row of means for each number of users")
    return [Measurement(source.name, "sweep", source.sha256, points=points)]


def _rows(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    if source.head.lstrip()[:1] == b"[":
        for number, row in enumerate(parse(source, source.data, None), 1):
            if not isinstance(row, dict):
                raise source.problem("is no object", field=f"[{number - 1}]", found=row, wanted="a row of the sweep")
            yield number, row
        return
    try:
        reader = csv.DictReader(io.StringIO(source.data.decode()), strict=True)
        for row in reader:
            yield reader.line_num, {(name or "").strip(): value for name, value in row.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise source.problem(f"cannot be read: {error}") from None


def _point(source: Source, line: int, row: dict[str, Any]) -> Point:
    users = _number(source, line, row, USERS, whole=True)
    rate = _number(source, line, row, RATE) if users is None else None
    if users is None and rate is None:
        raise source.problem(
            "says nothing of the load", line=line, found=", ".join(row), wanted=f"a column {USERS[0]} or {RATE[0]}"
        )
    lengths = [_number(source, line, row, names, whole=True) for names in (INPUT, OUTPUT)]
    for names, length in zip((INPUT, OUTPUT), lengths, strict=True):
        if length is None:
            raise source.problem("missing", line=line, field=names[0], found=", ".join(row), wanted=" or ".join(names))
    times = {what: _time(source, line, row, names) for what, names in TIMES.items()}
    if all(time is None for time in times.values()):
        raise source.problem("has no times", line=line, found=", ".join(row), wanted="ttft_ms, tpot_ms or both")
    requests = _number(source, line, row, REQUESTS, whole=True)
    return Point(
        line,
        None if users is None else int(users),
        rate,
        int(lengths[0] or 0),
        int(lengths[1] or 0),
        int(requests if requests is not None else OF_A_RATE if users is None else EACH_USER * users),
        times["ttft"],
        times["tpot"],
    )


def _time(source: Source, line: int, row: dict[str, Any], names: tuple[str, ...]) -> float | None:
    found = [(f"{name}_{unit}", scale) for name in names for unit, scale in UNITS_PS.items() if f"{name}_{unit}" in row]
    bare = [name for name in names if name in row]
    if bare:
        wanted = " or ".join(f"{bare[0]}_{unit}" for unit in UNITS_PS)
        raise source.problem("has no unit", line=line, field=bare[0], wanted=f"{wanted}, as its unit is")
    if len(found) > 1:
        twice = ", ".join(name for name, _ in found)
        raise source.problem("is given twice", line=line, found=twice, wanted="one of them")
    if not found:
        return None
    name, scale = found[0]
    value = _number(source, line, row, (name,))
    return None if value is None else value * scale


def _number(
    source: Source, line: int, row: dict[str, Any], names: tuple[str, ...], *, whole: bool = False
) -> float | None:
    name = next((name for name in names if row.get(name) not in (None, "")), None)
    if name is None:
        return None
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = -1.0
    if not 0 < value < 1e12 or (whole and value != int(value)):
        wanted = "a whole number from 1" if whole else "a number above 0"
        raise source.problem("cannot be read", line=line, field=name, found=row[name], wanted=wanted)
    return value
