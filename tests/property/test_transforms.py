"""Transforms: what they keep, whatever the trace."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin import _core
from servetwin.errors import InputError
from servetwin.workload import transform

from .test_sessions import conversations
from .worlds import MS, traces

NONE = 2**32 - 1


@dataclass(frozen=True)
class Row:
    """A request, and the row of the source that its priority names; so with what it waits for, and with the first
    of its trajectory."""

    source: int
    start_ps: int
    time_ps: int
    waits: tuple[int, ...]
    first: int
    tokens: tuple[int, int, int]
    blocks: tuple[int, ...]


def tagged(columns: dict[str, Any]) -> _core.Trace:
    """A trace whose rows carry their number as their priority, so that they can be told apart later."""
    return _core.Trace.from_columns(**{**columns, "priority": list(range(len(columns["after"])))})


def rows(trace: _core.Trace) -> list[Row]:
    def column(name: str, code: str) -> list[int]:
        return memoryview(trace.column(name)).cast(code).tolist()

    offsets, ids = column("block_offsets", "Q"), column("block_ids", "I")
    times, after, first = column("arrival_ps", "q"), column("after", "I"), column("trajectory", "I")
    wait_for, wait_offsets = column("wait_for", "I"), column("wait_offsets", "Q")
    lengths = zip(*(column(f"{name}_tokens", "I") for name in ("input", "output", "max_output")), strict=True)
    found: list[Row] = []
    sources = column("priority", "i")
    for row, (source, tokens) in enumerate(zip(sources, lengths, strict=True)):
        more = wait_for[slice(*wait_offsets[row : row + 2])] if wait_offsets else []
        waits = ([] if after[row] == NONE else [after[row]]) + more
        found.append(
            Row(
                source=source,
                start_ps=times[first[row]],
                time_ps=times[row],
                waits=tuple(sources[before] for before in waits),
                first=sources[first[row]],
                tokens=tokens,
                blocks=tuple(ids[offsets[row] : offsets[row + 1]]),
            )
        )
    return found


def alike(one: Row, other: Row) -> int:
    """Blocks that two requests share."""
    pairs = zip(one.blocks, other.blocks, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one.blocks), len(other.blocks)))


def assert_kept(trace: _core.Trace, kept: list[Row]) -> None:
    """What is left has its lengths, its predecessors, and shares what it shared."""
    source = rows(trace)
    for row in kept:
        was = source[row.source]
        assert (row.tokens, row.waits, len(row.blocks)) == (was.tokens, was.waits, len(was.blocks))
    for one in kept:
        for other in kept:
            assert alike(one, other) == alike(source[one.source], source[other.source])


def rows_left(trace: _core.Trace, step: dict[str, Any], nothing: str, seed: int = 0) -> list[Row]:
    """None where the step says that it leaves nothing."""
    try:
        return rows(transform(trace, [step], seed=seed))
    except InputError as error:
        if nothing not in str(error):
            raise
        return []


any_trace = (traces() | conversations()).map(tagged)


def identity(row: Row) -> tuple[int, int, int]:
    return row.source, row.start_ps, row.time_ps


@settings(max_examples=100)
@given(any_trace, st.sampled_from([(0.5, 2), (0.1, 10), (0.001, 1000)]))
def test_slower_and_faster_again_is_the_same(trace: _core.Trace, factors: tuple[float, float]) -> None:
    there_and_back = transform(trace, [{"speedup": factor} for factor in factors])
    assert rows(there_and_back) == rows(transform(trace, [{"speedup": 1}]))
    assert_kept(trace, rows(there_and_back))


@settings(max_examples=100)
@given(any_trace, st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(0, 2**62))
def test_thinned_and_the_rest_are_the_whole(trace: _core.Trace, share: float, more: float, seed: int) -> None:
    def thinned(share: float, rest: bool) -> list[Row]:
        return rows_left(trace, {"thin": {"share": share, "rest": rest}}, "leaves no request", seed)

    kept, rest = thinned(share, False), thinned(share, True)
    assert Counter(map(identity, kept + rest)) == Counter(map(identity, rows(trace)))
    least, most = sorted((share, more))
    assert set(map(identity, thinned(least, False))) <= set(map(identity, thinned(most, False)))
    assert_kept(trace, kept)


@settings(max_examples=100)
@given(any_trace, st.lists(st.integers(1, 3 * 10**12), max_size=4, unique=True))
def test_windows_side_by_side_are_the_whole(trace: _core.Trace, cuts: list[int]) -> None:
    found: list[tuple[int, int, int]] = []
    for start_ps, end_ps in pairwise([0, *sorted(cuts), 10**16]):
        step = {"window": {"start_s": start_ps / 1e12, "end_s": end_ps / 1e12}}
        kept = rows_left(trace, step, "no session starts in it")
        assert_kept(trace, kept)
        for row in kept:
            moved_ps = 0 if row.waits else start_ps
            found.append((row.source, row.start_ps + start_ps, row.time_ps + moved_ps))
    assert Counter(found) == Counter(map(identity, rows(trace)))


@settings(max_examples=100)
@given(any_trace, st.integers(1, 50))
def test_a_limit_takes_the_first(trace: _core.Trace, limit: int) -> None:
    kept = rows(transform(trace, [{"limit": limit}]))
    assert [row.source for row in kept] == list(range(min(limit, len(trace))))
    assert_kept(trace, kept)


@settings(max_examples=100)
@given(traces().map(tagged), traces().map(tagged))
def test_merging_keeps_all_and_mixes_nothing(one: _core.Trace, other: _core.Trace) -> None:
    if one.block_tokens != other.block_tokens:
        with pytest.raises(_core.InputError):
            _core.Trace.merge([one, other])
        return
    merged = rows(_core.Trace.merge([one, other]))
    assert Counter(map(identity, merged)) == Counter(map(identity, rows(one) + rows(other)))
    ids_of_one = {block for row in rows(one) for block in row.blocks}
    assert len({block for row in merged for block in row.blocks}) == len(ids_of_one) + len(
        {block for row in rows(other) for block in row.blocks}
    )


@settings(max_examples=100)
@given(any_trace, st.integers(2, 4), st.booleans(), st.sampled_from([0.0, 0.001, 5.0]))
def test_copies_are_as_the_whole(trace: _core.Trace, copies: int, fresh: bool, shift_s: float) -> None:
    step = {"copies": copies, "content": "fresh" if fresh else "same", "shift_s": shift_s}
    all_rows = rows(transform(trace, [{"replicate": step}]))
    assert Counter(row.source for row in all_rows) == Counter(list(range(len(trace))) * copies)
    source = rows(trace)
    for one in all_rows:
        for other in all_rows:
            shared, was = alike(one, other), alike(source[one.source], source[other.source])
            assert shared == was or (fresh and shared == 0)
    shares = sum(alike(one, other) for one in all_rows for other in all_rows)
    once = sum(alike(one, other) for one in source for other in source)
    assert shares == once * (copies if fresh else copies**2)


@settings(max_examples=100)
@given(any_trace, st.integers(0, 2**62), st.none() | st.sampled_from([0.02, 0.3, 100.0]))
def test_resampling_draws_whole_sessions(trace: _core.Trace, seed: int, block_s: float | None) -> None:
    step = {"resample": {} if block_s is None else {"block_s": block_s}}
    try:
        drawn = transform(trace, [step], seed=seed)
    except InputError as error:
        if block_s is None or "leaves no request" not in str(error):
            raise
        return  # a stretch without any request was drawn each time
    assert drawn.sha256 == transform(trace, [step], seed=seed).sha256, "common random numbers"
    source, found = rows(trace), rows(drawn)
    starts = Counter(row.source for row in found if row.first == row.source)
    for row in found:
        was = source[row.source]
        assert (row.tokens, row.waits, len(row.blocks)) == (was.tokens, was.waits, len(was.blocks))
        if row.waits:
            assert row.time_ps == was.time_ps
        else:
            assert row.time_ps - row.start_ps == was.time_ps - was.start_ps
    for row in source:
        assert sum(other.source == row.source for other in found) == starts[row.first]
    if block_s is None:
        times = sorted(row.time_ps for row in source if row.first == row.source)
        assert sorted(row.time_ps for row in found if row.first == row.source) == times
    for one in found:
        for other in found:
            assert alike(one, other) <= alike(source[one.source], source[other.source])


def test_steps_are_done_in_order() -> None:
    columns = {name: [1] * 4 for name in ("input_tokens", "output_tokens", "max_output_tokens")}
    trace = _core.Trace.from_columns(
        **columns,
        arrival_ps=[0, 10 * MS, 20 * MS, 30 * MS],
        priority=[0] * 4,
        after=[-1] * 4,
        block_tokens=16,
        block_ids=[0, 1, 2, 3],
        block_offsets=[0, 1, 2, 3, 4],
    )
    steps = ["window={start_s: 0.01}", "speedup=2", "replicate=2", "limit=3"]
    done = transform(trace, steps)
    assert [row.time_ps for row in rows(done)] == [0, 0, 5 * MS]
    assert [step["kind"] for step in done.notes["transforms"]] == ["window", "speedup", "replicate", "limit"]
    assert done.notes["source_sha256"] == trace.sha256


@pytest.mark.parametrize(
    ("step", "field", "message"),
    [
        ("speedup", "0", "name=value"),
        ("speedup=", "0", "name=value"),
        ("speedup=fast", "0.speedup", "number"),
        ("speedup=0", "0.speedup", "greater"),
        ("faster=2", "0.faster", "no such step"),
        ("window={start_s: 5, end_s: 4}", "0.window", "not after"),
        ("window={start_s: 500}", "0.window", "no session starts in it; they start from 0 to"),
        ("window=0..60", "0.window", 'not a mapping; found "0..60"; expected such as {start_s: 10, end_s: 70}'),
        ("thin=1.5", "0.thin.share", "less than or equal to 1; found 1.5"),
        ("thin={share: 0.5, rst: 1}", "0.thin.rst", "no such option"),
        ("replicate=1", "0.replicate.copies", "greater"),
        ("merge=none.parquet", None, "none.parquet: does not exist"),
        ({"limit": 1, "speedup": 2}, "0", "2 steps in one item"),
    ],
)
def test_senseless_steps(step: Any, field: str | None, message: str) -> None:
    config = """{"requests": 5, "block_tokens": 16, "arrivals": {"kind": "at_once"}, "classes": [{
        "input_tokens": {"kind": "constant", "value": 1}, "output_tokens": {"kind": "constant", "value": 1}}]}"""
    with pytest.raises(InputError) as caught:
        transform(_core.Trace.generate(config), [step])
    assert caught.value.field == field
    assert message in str(caught.value)
