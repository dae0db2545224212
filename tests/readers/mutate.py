"""Changes of a file that keep enough of its structure to get past the first check."""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import random
from typing import Any

import pyarrow as pa

from .samples import OURS_TABLE, parquet

CELLS = [
    "", "0", "1", "-1", "007", "1.0", "1.5", "-0.5", "1e3", "1e400", "1e-400", "99999999999", "9223372036854775808",
    "0.0000000000001", "8640000", "8640001", "1700000000", "NaN", "inf", "0x10", "+5", " 5", "5 ", "١٢", "true",
    "2023-11-16 18:17:03", "2023-02-30 00:00:00", "2023-11-16 18:17:03+02:00", "9999-12-31 23:59:59", "root", "s1",
    '"', "é", "\x00", "a\tb", ",", "None", "4294967295", "4294967296", "2147483648", "-2147483648",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 5, 64, 2**31, 2**32 - 1, 2**63, 2**64, 10**30, 1.5, -0.0, 1e300, 1e-300, "", "a", "5",
    [], [1], [None], [-1], [2**64], {}, {"value": 3}, {"a": {"b": []}}, "\u2028", "x" * 50,
]  # fmt: skip
SPLICES = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"NaN",
           b"1e999999999", b"[" * 3000, b"null", b"-", b";", b"\t", b"PAR1", b"\x1f\x8b"]  # fmt: skip


def mutated(draw: random.Random, name: str, data: bytes) -> bytes:
    """A file like `data`, of the format `name`, but for some changes."""
    kind = draw.random()
    if kind < 0.25:
        data = _bytes(draw, data)
    elif name == "parquet":
        data = _columns(draw) if kind < 0.9 else _bytes(draw, data)
    elif name.startswith("parquet"):
        data = _bytes(draw, data)
    elif data.lstrip()[:1] == b"{":
        data = _objects(draw, data)
    else:
        data = _cells(draw, data)
    packing = draw.random()
    if packing < 0.02:
        data = gzip.compress(data, 1)
        return _bytes(draw, data) if draw.random() < 0.5 else data
    if packing < 0.04:
        data = pa.compress(data, "zstd", asbytes=True)
        return _bytes(draw, data) if draw.random() < 0.5 else data
    return data


def _bytes(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(changed) + 1)
        what = draw.randrange(5)
        if what == 0:
            del changed[at:]
        elif what == 1:
            del changed[at : at + draw.randint(1, 9)]
        elif what == 2:
            changed[at:at] = draw.choice(SPLICES)
        elif what == 3 and at < len(changed):
            changed[at] = draw.randrange(256)
        else:
            start = draw.randrange(len(changed) + 1)
            changed[at:at] = changed[start : start + draw.randint(1, 60)]
    return bytes(changed)


def _cells(draw: random.Random, data: bytes) -> bytes:
    mark = max(",;\t", key=data.partition(b"\n")[0].decode(errors="replace").count)
    rows = [line.split(mark) for line in data.decode(errors="replace").splitlines()] or [[""]]
    for _ in range(draw.randint(1, 3)):
        row = draw.choice(rows)
        what = draw.randrange(8)
        if what < 4 and row:
            row[draw.randrange(len(row))] = draw.choice(CELLS)
        elif what == 4:
            rows.append(list(row))
        elif what == 5:
            column = draw.randrange(len(rows[0]) or 1)
            for one in rows:
                del one[column : column + 1]
        elif what == 6:
            column = draw.randrange(len(rows[0]) or 1)
            for one in rows[1:]:
                one[column : column + 1] = [draw.choice(CELLS)]
        else:
            draw.shuffle(rows[1:])
            rows[0] = [draw.choice([cell, cell.lower(), f"{cell}_ms", "session_id", "t"]) for cell in rows[0]]
    out = io.StringIO()
    csv.writer(out, delimiter=mark, lineterminator="\n").writerows(rows)
    return out.getvalue().encode(errors="replace")


def _objects(draw: random.Random, data: bytes) -> bytes:
    try:
        rows = [json.loads(data)]
    except ValueError:
        rows = [json.loads(line) for line in data.splitlines()]
    for _ in range(draw.randint(1, 3)):
        rows[draw.randrange(len(rows))] = _changed(draw, draw.choice(rows))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _changed(draw: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(list(value))
        changed = dict(value)
        what = draw.randrange(10)
        if what == 0:
            del changed[name]
        elif what == 1:
            changed[draw.choice(["x", "session_id", "delay", "priority", f"{name}s"])] = copy.deepcopy(
                draw.choice(VALUES)
            )
        else:
            changed[name] = _changed(draw, value[name])
        return changed
    if isinstance(value, list) and value and draw.random() < 0.7:
        at = draw.randrange(len(value))
        return [*value[:at], _changed(draw, value[at]), *value[at + draw.randrange(2) :]]
    if isinstance(value, int) and draw.random() < 0.5:
        return value + draw.choice([-1, 1, 1000, -(10**6)])
    return copy.deepcopy(draw.choice(VALUES))


KINDS = [pa.int64(), pa.int32(), pa.uint8(), pa.float64(), pa.string(), pa.bool_(), pa.timestamp("ns"), pa.binary()]


def _columns(draw: random.Random) -> bytes:
    """One of our own tables, with other columns, types and numbers."""
    table = OURS_TABLE
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(table.num_columns)
        name = table.column_names[at]
        what = draw.randrange(6)
        if what == 0 and table.num_columns > 1:
            table = table.drop_columns([name])
        elif what == 1:
            table = table.set_column(at, name, pa.array([None] * len(table), draw.choice(KINDS)))
        elif what == 2:
            numbers = [draw.choice([None, 0, 1, 7, -1, 2**31, 2**40, 2**63 - 1]) for _ in range(len(table))]
            table = table.set_column(at, name, pa.array(numbers, pa.int64()))
        elif what == 3:
            lists = [
                [draw.choice([0, 1, 2, 9, -1, 2**33]) for _ in range(draw.randrange(4))] for _ in range(len(table))
            ]
            table = table.set_column(at, name, pa.array(lists, pa.list_(pa.int64())))
        elif what == 4:
            table = table.take([draw.randrange(len(table)) for _ in range(draw.randint(1, 5))])
        else:
            size = draw.choice(["0", "4", "5", "-1", "x", "99999999999999"])
            table = table.replace_schema_metadata({"servetwin.block_tokens": size})
    return parquet(table)
