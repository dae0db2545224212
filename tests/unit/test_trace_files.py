"""What is written as a trace is read as the same trace, as far as the format has words for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from servetwin import InputError, Trace
from servetwin.workload import read_trace, write_trace

COLUMNS = ("arrival_ps", "input_tokens", "output_tokens", "max_output_tokens", "priority", "after", "block_ids")

ROWS: dict[str, Any] = {
    "arrival_ps": [0, 10, 5_000_001],
    "input_tokens": [4, 5, 9],
    "output_tokens": [1, 3, 4],
    "max_output_tokens": [1, 4, 4],
    "priority": [0, -1, 0],
    "after": [-1, 0, -1],
    "block_tokens": 4,
    "block_ids": [0, 0, 1, 2, 3, 4],
    "block_offsets": [0, 1, 3, 6],
    "request_ids": ["x", "y", "z"],
    "class_names": ["chat", "agents"],
    "classes": [0, 1, 1],
    "failed": [1, 0, 0],
}


def test_parquet_holds_everything(tmp_path: Path) -> None:
    trace = Trace.from_columns(**ROWS)
    assert write_trace(trace, tmp_path / "t.parquet") == []
    back = read_trace(tmp_path / "t.parquet")
    assert back.block_tokens == 4
    assert back.request_ids == ["x", "y", "z"]
    assert back.class_names == ["chat", "agents"]
    for name in (*COLUMNS, "block_offsets", "class", "failed"):
        assert back.column(name) == trace.column(name), name


def test_jsonl_says_what_it_cannot_hold(tmp_path: Path) -> None:
    trace = Trace.from_columns(**ROWS)
    lost = write_trace(trace, tmp_path / "t.jsonl")
    assert len(lost) == 4
    back = read_trace(tmp_path / "t.jsonl", block_tokens=4)
    for name in COLUMNS:
        assert (back.column(name) == trace.column(name)) is (name != "max_output_tokens"), name
    assert not back.has_failed


@pytest.mark.parametrize("name", ["t", "t.txt", "t.parquet.gz", "t.gz", "t.json"])
def test_a_name_that_tells_no_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no known format"):
        write_trace(Trace.from_columns(**ROWS), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_trace(Trace.from_columns(**ROWS), tmp_path / "none" / "t.jsonl")
