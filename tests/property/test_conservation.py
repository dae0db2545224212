"""What goes in comes out, of any deployment: requests, tokens, the time between them, blocks and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from servetwin import _core

from .. import small
from .topologies import ONE_POOL, TOPOLOGIES, TWO_POOLS, Deployed, numbers

NEVER = -1
COMPLETED, REJECTED, UNFINISHED = range(3)
TIMED_OUT, OUT_OF_MEMORY = 10, 11
"""Codes of the reasons that end a request after it was routed."""

LONGEST = ("context_length", "max_total_tokens", "max_seq_len")
"""Where outputs are cut; vLLM takes no request that it would have to cut."""

WAY = ("arrival_ps", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps", "end_ps")
IDLE_PS, DAY_PS = 10**17, 10**17 - 10**16
"""When the last request comes, and when all before it have long ended."""


def columns(run: _core.Run, *names: str) -> list[dict[str, int]]:
    by_name = {name: numbers(run, name) for name in names}
    return [dict(zip(by_name, row, strict=True)) for row in zip(*by_name.values(), strict=True)]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_each_request_ends_once_with_what_was_asked_for(topology: str) -> None:
    @settings(max_examples=25)
    @given(TOPOLOGIES[topology])
    def holds(world: Deployed) -> None:
        run = world.simulate()
        engines = [pool["engine"] for pool in world.run["pools"]]
        ends = [engine[name] for engine in engines for name in LONGEST if name in engine]
        slack = 2 * max(engine.get("page_size", 0) for engine in engines) + 2
        least = 1 if engines[0]["name"] == "sglang" else 0  # which gives a token whatever was asked for
        for row, request in enumerate(columns(run, *WAY, "status", "reason", "output_tokens")):
            known = [request[name] for name in WAY if request[name] != NEVER]
            assert known == sorted(known)
            assert (request["end_ps"] == NEVER) == (request["status"] == UNFINISHED)
            assert (request["reason"] == 0) == (request["status"] == COMPLETED)
            asked = world.trace["output_tokens"][row]
            if request["status"] == COMPLETED:
                whole = world.trace["input_tokens"][row] + request["output_tokens"]
                is_cut = any(end - slack <= whole <= end for end in ends)
                assert request["output_tokens"] == max(asked, least) or (is_cut and request["output_tokens"] < asked)
            elif request["status"] == REJECTED and request["routed_ps"] != NEVER:
                assert request["reason"] in (OUT_OF_MEMORY, TIMED_OUT)
                assert request["output_tokens"] <= asked
            if run.status == "completed":
                assert request["routed_ps"] == NEVER or request["status"] != UNFINISHED, "lost"

    holds()


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_gaps_fill_the_time_between_first_and_last_tokens(topology: str) -> None:
    """And the summary counts the same tokens as the table."""

    @settings(max_examples=25)
    @given(TOPOLOGIES[topology])
    def holds(world: Deployed) -> None:
        run = world.simulate()
        rows = columns(run, *WAY, "status", "output_tokens")
        given = [row for row in rows if row["first_token_ps"] != NEVER]
        assume(all(row["status"] != UNFINISHED for row in given))
        gaps = run.itl()
        count = sum(count * weight for _, _, count, weight in gaps)
        total_ps = sum(
            weight * (count * start + step * count * (count - 1) // 2) for start, step, count, weight in gaps
        )
        assert count == sum(row["output_tokens"] - 1 for row in given)
        assert total_ps == sum(row["last_token_ps"] - row["first_token_ps"] for row in given)
        summary = small.summary(run)
        done = [row for row in given if row["status"] == COMPLETED]
        assert summary["output_tokens"] == sum(row["output_tokens"] for row in done)
        if done:
            ttft_ps = [row["first_token_ps"] - row["arrival_ps"] for row in done]
            assert summary["ttft_ms.count"] == len(done)
            assert summary["ttft_ms.mean"] * 1e9 * len(done) == pytest.approx(sum(ttft_ps))
            assert summary["ttft_ms.max"] * 1e9 == pytest.approx(max(ttft_ps))

    holds()


def with_a_late_request(trace: dict[str, Any]) -> dict[str, Any]:
    """One token in and one out, when all is over; after whom replicas are looked at."""
    late = {name: list(values) if isinstance(values, list) else values for name, values in trace.items()}
    late["arrival_ps"].append(IDLE_PS)
    for name, value in (("input_tokens", 1), ("output_tokens", 1), ("max_output_tokens", 1), ("priority", 0)):
        late[name].append(value)
    late["after"].append(-1)
    late["block_ids"].append(max(trace["block_ids"], default=-1) + 1)
    late["block_offsets"].append(len(late["block_ids"]))
    if trace["wait_offsets"]:
        late["wait_offsets"].append(trace["wait_offsets"][-1])
    return late


@pytest.mark.parametrize("topology", ONE_POOL)
def test_no_block_is_lost_nor_a_request_forgotten(topology: str) -> None:
    @settings(max_examples=25)
    @given(ONE_POOL[topology])
    def holds(world: Deployed) -> None:
        pools = [pool | {"replicas": 1} for pool in world.run["pools"]]
        world = Deployed(with_a_late_request(world.trace), world.run)
        run = world.changed(pools=pools, users=None, series_interval_ps=10**16).simulate()
        assume(run.status == "completed")
        times = memoryview(run.series("time_ps")).cast("q").tolist()
        for name in ("running", "waiting", "used_blocks"):
            held = memoryview(run.series(name)).cast("I").tolist()
            assert [one for time, one in zip(times, held, strict=True) if DAY_PS <= time < IDLE_PS] == [0]

    holds()


@pytest.mark.parametrize("topology", TWO_POOLS)
def test_links_carry_no_more_than_they_can(topology: str) -> None:
    """And a transfer takes no less than its bytes over the slowest link of its way."""

    @settings(max_examples=40)
    @given(TWO_POOLS[topology])
    def holds(world: Deployed) -> None:
        run, links = world.simulate(), world.run["links"]
        names = ("replica", "prefill_replica", "transfer_start_ps", "transfer_end_ps", "transferred_tokens")
        busy: dict[int, list[tuple[int, int, int]]] = {}
        for row in columns(run, *names):
            start, end = row["transfer_start_ps"], row["transfer_end_ps"]
            if NEVER in (start, end):
                continue
            size = row["transferred_tokens"] * world.run["handover"]["bytes_per_token"]
            for link in path(world, row["prefill_replica"], row["replica"]):
                busy.setdefault(link, []).append((start, end, size))
                assert size * 10**12 <= links[link]["bytes_per_s"] * (end - start), "faster than its link"
        for link, transfers in busy.items():
            size = sum(size for _, _, size in transfers)
            assert size * 10**12 <= links[link]["bytes_per_s"] * covered([one[:2] for one in transfers])

    holds()


def path(world: Deployed, prefill: int, decode: int) -> list[int]:
    ports = [port for pool in world.run["pools"] for port in pool["ports"]]
    source, sink = ports[prefill], ports[decode]
    near = source["nvlink_domain"] == sink["nvlink_domain"]
    kind = "nvlink" if near else "nic"
    return [*world.run["handover"]["links"], source[kind], sink[kind]]


def covered(spans: Sequence[tuple[int, int]]) -> int:
    """The length of their union."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=6))
def test_a_union_is_as_long_as_its_points(spans: list[tuple[int, int]]) -> None:
    ends = [(start, start + length) for start, length in spans]
    assert covered(ends) == len({point for start, end in ends for point in range(start, end)})
