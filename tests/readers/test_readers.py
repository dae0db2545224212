"""What each format's reader makes of a small file, and what it says of a wrong one."""

from __future__ import annotations

import gzip
import itertools
import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from servetwin import InputError, Trace
from servetwin.workload.read import read_source, read_trace
from servetwin.workload.source import Source
from servetwin.workload.table import Options

from . import samples

S = 10**12
NONE = 2**32 - 1


def read(data: bytes, form: str = "auto", **options: Any) -> Trace:
    return read_source(Source("t", data), form, Options(**options))


def column(trace: Trace, name: str) -> list[int]:
    code = {"arrival_ps": "q", "priority": "i", "block_offsets": "Q", "failed": "B"}.get(name, "I")
    return [value for (value,) in struct.iter_unpack(f"<{code}", trace.column(name))]


def blocks(trace: Trace) -> list[list[int]]:
    ids, offsets = column(trace, "block_ids"), column(trace, "block_offsets")
    return [ids[start:end] for start, end in itertools.pairwise(offsets)]


def classes(trace: Trace) -> list[str]:
    return [(trace.class_names or [])[code] for code in column(trace, "class")]


def test_azure() -> None:
    trace = read(samples.AZURE_2023)
    assert column(trace, "arrival_ps") == [0, 52_000_000_000]
    assert column(trace, "input_tokens") == [4808, 3180]
    assert column(trace, "output_tokens") == [10, 8]
    assert trace.notes["starts_at"] == "2023-11-16 18:17:03.9799600"
    newer = read(samples.AZURE_2024)
    assert column(newer, "arrival_ps") == [0, 490_070_000_000, 990_070_000_000]
    assert column(newer, "input_tokens") == [2162, 76, 2399], "in the order of arrival"


def test_burstgpt() -> None:
    trace = read(samples.BURSTGPT)
    assert column(trace, "arrival_ps") == [0, 40 * S + S // 2, 113 * S]
    assert column(trace, "failed") == [0, 1, 0], "kept, and marked"
    assert classes(trace) == ["Conversation log", "API log", "Conversation log"]


def test_burstgpt_s_sessions_must_be_explained() -> None:
    data = samples.BURSTGPT_SESSIONS
    with pytest.raises(InputError, match="say turns: cumulative, delta, or separate") as caught:
        read(data)
    assert (caught.value.line, caught.value.field) == (4, "Request tokens")
    whole, new, alone = (read(data, turns=turns) for turns in ("cumulative", "delta", "separate"))
    assert sorted(column(whole, "input_tokens")) == [100, 400, 500]
    assert sorted(column(new, "input_tokens")) == [100, 400, 400 + 20 + 500]
    assert column(whole, "arrival_ps") == [0, 1 * S, 37 * S + S // 2], "from the end of the turn before"
    assert column(whole, "after") == [NONE, NONE, 0]
    assert column(alone, "after") == [NONE] * 3
    assert blocks(whole)[2][: 420 // 16] == blocks(whole)[0][: 420 // 16]


def test_bailian() -> None:
    trace = read(samples.BAILIAN)
    assert trace.block_tokens == 16
    assert column(trace, "arrival_ps") == [61_114 * S // 1000, 70_500 * S // 1000]
    assert blocks(trace) == [[0, 1, 2], [0, 1, 3, 4]]
    assert classes(trace) == ["text", "search"]
    assert trace.request_ids == ["1", "2"]
    assert column(trace, "after") == [NONE, NONE]
    assert trace.notes["turns_at_their_own_times"] == 1
    assert column(read(samples.BAILIAN, turns="cumulative"), "after") == [NONE, 0]


def test_sharegpt() -> None:
    trace = read(samples.SHAREGPT)
    assert column(trace, "arrival_ps") == [46_926_808_000, 347_938_951_000]
    assert blocks(trace) == [[0, 1], [0, 2]], "the first 16 tokens are the same"
    with pytest.raises(InputError, match="says nothing of when requests arrive"):
        read(samples.SHAREGPT_LENGTHS)
    assert column(read(samples.SHAREGPT_LENGTHS, need_times=False), "input_tokens") == [20, 18]
    texts = json.dumps([{"id": "a", "conversations": [{"from": "human", "value": "hi"}]}]).encode()
    with pytest.raises(InputError, match="depend on a tokenizer"):
        read(texts)


def test_dynamo() -> None:
    trace = read(samples.DYNAMO)
    assert trace.block_tokens == 64
    assert trace.request_ids == ["r1", "r3", "r2"]
    assert column(trace, "arrival_ps") == [0, S // 2, S * 3 // 4], "the last one from the end of r1"
    assert column(trace, "after") == [NONE, NONE, 0]
    assert blocks(trace) == [[0, 1], [0], [0, 1, 2]]
    assert trace.notes["other_records"] == 1


def test_aiperf() -> None:
    trace = read(samples.AIPERF)
    assert column(trace, "arrival_ps") == [0, S // 10, S // 5]
    assert column(trace, "input_tokens") == [550, 12, 550]
    assert column(trace, "output_tokens") == [9, 34, 0], "reasoning is generated too"
    assert column(trace, "failed") == [0, 0, 1]
    assert trace.notes["failed_without_length"] == 1


def test_guidellm() -> None:
    trace = read(samples.GUIDELLM)
    assert column(trace, "arrival_ps") == [0, S // 2, S * 7 // 4]
    assert column(trace, "input_tokens") == [128, 64, 99]
    assert column(trace, "failed") == [0, 0, 1]
    assert trace.notes["failed_without_length"] == 1


def test_agentic() -> None:
    trace = read(samples.AGENTIC)
    assert trace.block_tokens == 64
    assert column(trace, "after") == [NONE, NONE, 0, 2]
    assert column(trace, "arrival_ps") == [0, 0, 12 * S, 21 * S], "without a think time, the difference of times"
    assert classes(trace) == ["agent", "sub-agent", "agent", "agent"]
    first, other, second, third = blocks(trace)
    assert second[:20] == first[:20]
    assert second[20] not in first
    assert third[:21] == second[:21]
    assert not set(other) & {*first, *second, *third}


def test_table() -> None:
    trace = read(samples.TABLE)
    assert column(trace, "arrival_ps") == [S // 2, S * 5 // 4, 2 * S]
    assert column(trace, "max_output_tokens") == [20, 0, 9]
    assert column(trace, "priority") == [0, -1, 0]
    assert column(trace, "failed") == [0, 1, 0]
    assert classes(trace) == ["chat", "agents", "agents"]
    assert trace.request_ids == ["a", "b", "c"]
    assert trace.notes["columns_without_effect"] == ["note"]
    assert column(read(samples.DATES), "arrival_ps") == [0, S * 3 // 2]
    assert column(read(samples.UNITLESS, time_unit="ms"), "arrival_ps") == [S // 100, S // 50]


@pytest.mark.parametrize(
    ("cell", "picoseconds"),
    [
        ("0.000000000001", 1),
        ("0.0000000000015", 2),
        ("0.0000000000025", 2),
        ("1e-3", 10**9),
        ("8640000", 8_640_000 * S),
    ],
)
def test_times_are_exact_and_rounded_to_even(cell: str, picoseconds: int) -> None:
    table = f"arrival_s,input_tokens,output_tokens\n{cell},1,1\n".encode()
    assert column(read(table), "arrival_ps") == [picoseconds]


def test_times_since_1970_are_counted_from_the_earliest() -> None:
    table = "arrival_ms,input_tokens,output_tokens\n{},1,1\n{},1,1\n"
    assert column(read(table.format("1759813207500", "1759813207250.5").encode()), "arrival_ps") == [0, 249_500_000_000]
    with pytest.raises(InputError, match="100 days") as caught:
        read(table.format("1759813207500", "12").encode())
    assert (caught.value.line, caught.value.field) == (2, "arrival_ms")


@pytest.mark.parametrize("name", ["azure", "bailian", "agentic", "mooncake"])
def test_packed_files_are_the_same(name: str, tmp_path: Path) -> None:
    plain = read(samples.SAMPLES[name])
    for suffix, data in ((".gz", gzip.compress), (".zst", lambda one: pa.compress(one, "zstd", asbytes=True))):
        file = tmp_path / f"any name{suffix}"
        file.write_bytes(data(samples.SAMPLES[name]))
        packed = read_trace(file)
        assert packed.column("arrival_ps") == plain.column("arrival_ps")
        assert packed.column("block_ids") == plain.column("block_ids")


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


WRONG: dict[str, tuple[bytes, int | None, str | None, str]] = {
    "a date that is none": (
        changed(samples.AZURE_2023, b"11-16 18:17:04", b"02-30 18:17:04"),
        3,
        "TIMESTAMP",
        "a date",
    ),
    "zones in some": (
        changed(samples.AZURE_2024, b"00:00:01+00:00", b"00:00:01"),
        3,
        "TIMESTAMP",
        "some dates tell their time zone",
    ),
    "seconds for dates": (changed(samples.AZURE_2023, b"2023-11-16 18:17:04.0319600", b"17"), 3, "TIMESTAMP", "a date"),
    "far apart": (
        changed(samples.AZURE_2023, b"2023-11-16 18:17:04", b"2024-11-16 18:17:04"),
        3,
        "TIMESTAMP",
        "100 days",
    ),
    "a missing column": (changed(samples.AZURE_2023, b"GeneratedTokens", b"Tokens"), 1, "GeneratedTokens", "missing"),
    "too few cells": (changed(samples.BURSTGPT, b",693,", b","), 4, None, "has 5 cells; the header has 6"),
    "no number": (changed(samples.BURSTGPT, b"1087,0,", b"many,0,"), 3, "Request tokens", "a whole number of tokens"),
    "no prompt": (changed(samples.BURSTGPT, b"1087,0,1087", b"0,0,0"), 3, "Request tokens", "from 1"),
    "sums that do not add up": (changed(samples.BURSTGPT, b",693,", b",700,"), 4, "Total tokens", "417 + 276 = 693"),
    "too few ids": (changed(samples.BAILIAN, b"[10, 11, 12]", b"[10, 11]"), 1, "hash_ids", "exactly 3 are right"),
    "whole milliseconds": (changed(samples.BAILIAN, b"70.5", b"70500000"), 2, "timestamp", "within 100 days"),
    "a foreign block size": (
        changed(samples.DYNAMO, b'"trace_block_size": 64', b'"trace_block_size": 32'),
        4,
        "request.replay.trace_block_size",
        "blocks of one size",
    ),
    "another schema": (changed(samples.DYNAMO, b"trace.v1", b"trace.v9"), 1, "schema", "no record of this format"),
    "an end before its start": (
        changed(samples.AIPERF, b'"request_end_ns": 17', b'"request_end_ns": 16'),
        1,
        "metadata.request_end_ns",
        "before metadata.request_start_ns",
    ),
    "a length in another unit": (
        changed(samples.AIPERF, b'"unit": "tokens"', b'"unit": "ms"'),
        1,
        "metrics.input_sequence_length.unit",
        "found ms; expected tokens",
    ),
    "no length though it succeeded": (
        changed(samples.AIPERF, b"input_sequence_length", b"isl"),
        1,
        "metrics.input_sequence_length.value",
        "missing",
    ),
    "a text for a number": (
        changed(samples.GUIDELLM, b'"prompt_tokens": 128', b'"prompt_tokens": "128"'),
        None,
        "benchmarks[0].requests.successful[0].prompt_tokens",
        'found "128"',
    ),
    "more kept than there is": (
        changed(samples.AGENTIC, b"21,20,64", b"21,22,64"),
        3,
        "lcp_blocks_prev",
        "21 blocks to share",
    ),
    "blocks of two sizes": (changed(samples.AGENTIC, b"21,20,64", b"21,20,32"), 3, "block_size", "blocks of one size"),
    "blocks that do not fit": (
        changed(samples.AGENTIC, b",20,0,64", b",99,0,64"),
        2,
        "n_blocks",
        "20, the whole blocks",
    ),
    "two times": (changed(samples.TABLE, b"note", b"time_ms"), 1, "arrival_s", "also given as time_ms"),
    "a unit in the cell": (changed(samples.TABLE, b"1.25", b"1250ms"), 3, "arrival_s", "a number of seconds"),
    "no unit": (samples.UNITLESS, 1, "timestamp", "does not say in which unit"),
    "longer than its limit": (changed(samples.TABLE, b"100,10,20", b"100,30,20"), 2, "output_tokens", "limit is 20"),
    "bytes that are no text": (changed(samples.TABLE, b"agents", b"ag\xffnts"), 3, None, "byte 21 is not UTF-8"),
    "no known columns": (b"alpha,beta\n1,2\n", 1, None, "no known format"),
    "no rows": (samples.TABLE.partition(b"\n")[0] + b"\n", None, None, "has no rows"),
    "nothing at all": (b"", None, None, "has no rows"),
    "a cut archive": (gzip.compress(samples.TABLE)[:-30], None, None, "cannot be decompressed"),
    "an archive of another kind": (b"PK\x03\x04rest", None, None, "zip archive"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(what: str) -> None:
    data, line, field, part = WRONG[what]
    with pytest.raises(InputError) as caught:
        read(data)
    assert part in str(caught.value)
    assert (caught.value.file, caught.value.line, caught.value.field) == ("t", line, field)


@pytest.mark.parametrize(
    ("data", "options", "field"),
    [
        (samples.AZURE_2023, {"turns": "delta"}, "turns"),
        (samples.AGENTIC, {"turns": "cumulative"}, "turns"),
        (samples.BAILIAN, {"turns": "delta"}, "turns"),
        (samples.AZURE_2023, {"time_unit": "ms"}, "time_unit"),
        (samples.TABLE, {"time_unit": "ms"}, "time_unit"),
        (samples.MOONCAKE, {"time_unit": "s"}, "time_unit"),
        (samples.BAILIAN, {"block_tokens": 512}, "block_tokens"),
        (samples.AZURE_2023, {"limit": 0}, "limit"),
    ],
)
def test_an_option_without_effect_is_refused(data: bytes, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        read(data, **options)
    assert caught.value.field == field


def test_a_format_may_be_named() -> None:
    with pytest.raises(InputError, match="no such format"):
        read(samples.AZURE_2023, "azur")
    with pytest.raises(InputError, match="found trace_id, agent_path") as caught:
        read(samples.AGENTIC, "azure")
    assert caught.value.line == 1
    assert caught.value.__notes__ == ["read as format azure, as it was named; the content looks like agentic"]
    with pytest.raises(InputError, match="is a Parquet file"):
        read(samples.SAMPLES["parquet"], "table")


def test_mooncake_turns_that_do_not_repeat_the_one_before() -> None:
    data = changed(samples.MOONCAKE, b"[0, 99, 100]", b"[7, 99, 100]")
    with pytest.raises(InputError, match="does not begin as the turn before") as caught:
        read(data)
    assert (caught.value.line, caught.value.field) == (3, "input_length")
    assert column(read(data, turns="delta"), "input_tokens") == [6755, 600, 600 + 0 + 1100]
    assert column(read(data, turns="cumulative"), "input_tokens") == [6755, 600, 1100]


def test_limit_speedup_and_output_limit_mean_the_same_everywhere() -> None:
    trace = read(samples.BURSTGPT, limit=2, speedup=2.0, max_output_tokens=50)
    assert column(trace, "arrival_ps") == [0, 20 * S + S // 4]
    assert column(trace, "max_output_tokens") == [50, 50]
    with pytest.raises(InputError, match="above max_output_tokens") as caught:
        read(samples.BURSTGPT, max_output_tokens=50)
    assert (caught.value.line, caught.value.field) == (4, "Response tokens")
