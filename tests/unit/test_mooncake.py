"""The Mooncake reader as Python sees it. What it takes and refuses, row by row, is tested in the core."""

from __future__ import annotations

import array
import gzip
import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servetwin import _core

ROW = {"timestamp": 0, "input_length": 6, "output_length": 2, "hash_ids": [7, 9]}
PS_PER_MS = 10**9
NONE = 2**32 - 1

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*rows: dict[str, Any] | str) -> Path:
        file = tmp_path / "trace.jsonl"
        file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return file

    return write


def read(file: Path, **options: Any) -> _core.Trace:
    return _core.Trace.read_mooncake(str(file), block_tokens=4, **options)


def refusal(file: Path, **options: Any) -> tuple[str | None, int | None, str | None, str]:
    with pytest.raises(_core.InputError) as caught:
        read(file, **options)
    file_name, line, field, message = caught.value.args
    return file_name, line, field, message


def column(trace: _core.Trace, name: str) -> list[int]:
    code = {"arrival_ps": "q", "priority": "i", "block_offsets": "Q"}.get(name, "I")
    return [value for (value,) in struct.iter_unpack(f"<{code}", trace.column(name))]


def test_columns(write: Write) -> None:
    file = write(
        ROW | {"session_id": "s", "priority": 4},
        ROW | {"timestamp": 2.5, "hash_ids": [7, 8], "session_id": "s", "request_id": "second"},
    )
    trace = read(file, max_output_tokens=100)
    assert len(trace) == 2
    assert trace.block_tokens == 4
    assert trace.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert trace.request_ids == ["line 1", "second"]
    assert column(trace, "arrival_ps") == [0, PS_PER_MS * 5 // 2]
    assert column(trace, "after") == [NONE, 0]
    assert column(trace, "input_tokens") == [6, 6]
    assert column(trace, "output_tokens") == [2, 2]
    assert column(trace, "max_output_tokens") == [100, 100]
    assert column(trace, "priority") == [4, 0]
    assert column(trace, "block_ids") == [0, 1, 0, 2]
    assert column(trace, "block_offsets") == [0, 2, 4]
    assert trace.notes["format"] == "mooncake"
    assert trace.notes["sessions"] == 1
    with pytest.raises(KeyError, match="nothing"):
        trace.column("nothing")


def test_names_only_where_given(write: Write) -> None:
    assert read(write(ROW)).request_ids is None


@pytest.mark.parametrize(
    ("row", "line", "field", "message"),
    [
        ('{"timestamp": 0, "input_le', 2, None, "cut off"),
        (ROW | {"timestamp": -1}, 2, "timestamp", "found -1"),
        (ROW | {"timestamp": float("nan")}, 2, "timestamp", "found NaN"),
        (ROW | {"timestamp": 1.7e12}, 2, "timestamp", "over 100 days"),
        (ROW | {"input_length": 0}, 2, "input_length", "found 0"),
        (ROW | {"hash_ids": [1]}, 2, "hash_ids", "exactly 2 are right"),
        (ROW | {"hash_ids": [1, 2**64]}, 2, "hash_ids", "element 2: found 18446744073709551616"),
        (ROW | {"hash_id": [1]}, 2, "hash_id", "no field of a Mooncake row"),
    ],
)
def test_errors_say_where(write: Write, row: dict[str, Any] | str, line: int, field: str | None, message: str) -> None:
    file = write(ROW, row)
    found = refusal(file)
    assert found[:3] == (str(file), line, field)
    assert message in found[3]


def test_what_is_no_trace_file(tmp_path: Path, write: Write) -> None:
    assert "does not exist" in refusal(tmp_path / "none.jsonl")[3]
    assert "directory" in refusal(tmp_path)[3]
    assert "no rows" in refusal(write())[3]
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(b"{}"))
    assert "gzip" in refusal(packed)[3]
    locked = write(ROW)
    locked.chmod(0)
    if not os.access(locked, os.R_OK):
        assert "permission denied" in refusal(locked)[3]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(refusal(pipe)[3]), daemon=True)
    reader.start()
    reader.join(timeout=10)
    assert found == ["is not a regular file; write the trace to one first"]


def test_options_are_checked(write: Write) -> None:
    file = write(ROW)
    assert refusal(file, speedup=float("nan"))[2] == "speedup"
    assert refusal(file, limit=0)[2] == "limit"
    assert refusal(file, max_output_tokens=1)[1:3] == (1, "output_length")


COLUMNS: dict[str, Any] = {
    "arrival_ps": [0, 10],
    "input_tokens": [4, 5],
    "output_tokens": [1, 3],
    "max_output_tokens": [1, 4],
    "priority": [0, -1],
    "after": [-1, 0],
    "block_tokens": 4,
    "block_ids": [0, 0, 1],
    "block_offsets": [0, 1, 3],
}


def test_from_columns() -> None:
    trace = _core.Trace.from_columns(**COLUMNS)
    for name in COLUMNS.keys() - {"after", "block_tokens"}:
        assert column(trace, name) == COLUMNS[name]
    assert column(trace, "after") == [NONE, 0]
    assert trace.request_ids is None
    assert trace.sha256 == _core.Trace.from_columns(**COLUMNS).sha256
    assert trace.sha256 != _core.Trace.from_columns(**COLUMNS | {"arrival_ps": [0, 11]}).sha256


CODES = {"arrival_ps": "q", "priority": "i", "after": "q", "block_offsets": "Q"}


@pytest.mark.parametrize("as_given", [lambda column: column, lambda column: column.tobytes(), memoryview])
def test_columns_may_be_buffers(as_given: Callable[[Any], Any]) -> None:
    buffers = {
        name: as_given(array.array(CODES.get(name, "I"), value)) if isinstance(value, list) else value
        for name, value in COLUMNS.items()
    }
    assert _core.Trace.from_columns(**buffers).sha256 == _core.Trace.from_columns(**COLUMNS).sha256


@pytest.mark.parametrize("given", [b"123", "text", array.array("d", [0.0, 1.0])])
def test_what_is_no_column(given: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        _core.Trace.from_columns(**COLUMNS | {"arrival_ps": given})


def test_labels() -> None:
    labels: dict[str, Any] = {"request_ids": ["a", "b"], "class_names": ["chat"], "classes": [0, 0], "failed": [0, 1]}
    trace = _core.Trace.from_columns(**COLUMNS, **labels)
    assert trace.request_ids == ["a", "b"]
    assert trace.class_names == ["chat"]
    assert column(trace, "class") == [0, 0]
    assert trace.has_failed
    assert trace.column("failed") == b"\0\1"
    plain = _core.Trace.from_columns(**COLUMNS)
    assert (plain.class_names, plain.has_failed) == (None, False)
    for name in ("class", "failed"):
        with pytest.raises(KeyError):
            plain.column(name)
    for name, value in (("request_ids", ["a"]), ("classes", [0, 1]), ("failed", [0])):
        with pytest.raises(_core.InputError) as caught:
            _core.Trace.from_columns(**COLUMNS, **labels | {name: value})
        assert caught.value.args[2] == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arrival_ps", []),
        ("arrival_ps", [-1, 10]),
        ("input_tokens", [4]),
        ("input_tokens", [0, 5]),
        ("output_tokens", [2, 3]),
        ("after", [-1, 1]),
        ("after", [-2, 0]),
        ("after", [2**32, 0]),
        ("block_tokens", 0),
        ("block_ids", [0, 0, 9]),
        ("block_offsets", [0, 3, 1]),
        ("block_offsets", [0, 1]),
    ],
)
def test_from_columns_refuses(name: str, value: Any) -> None:
    with pytest.raises(_core.InputError) as caught:
        _core.Trace.from_columns(**COLUMNS | {name: value})
    assert caught.value.args[:3] == (None, None, name)
