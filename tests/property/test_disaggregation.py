"""What holds of any run with prefill and decode pools."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .disaggregated import ENGINES, Disaggregated, disaggregated

COMPLETED, REJECTED = 0, 1
TIMED_OUT = 10
NEVER = -1
NONE = 2**32 - 1


@pytest.mark.parametrize("engine", ENGINES)
def test_leaping_changes_nothing(engine: str) -> None:
    @settings(max_examples=120)
    @given(disaggregated(engine))
    def check(world: Disaggregated) -> None:
        leapt, stepped = world.records(leap=True), world.records(leap=False)
        assert stepped.get("leaps", 0) == 0
        assert leapt | {"leaps": 0} == stepped | {"leaps": 0}

    check()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_run_twice(engine: str) -> None:
    @settings(max_examples=25)
    @given(disaggregated(engine))
    def check(world: Disaggregated) -> None:
        assert world.records() == world.records()

    check()


def table(records: dict[str, Any], *names: str) -> list[dict[str, int]]:
    kinds = {"status": "B", "reason": "B"}
    kinds |= dict.fromkeys(("replica", "prefill_replica", "output_tokens", "transferred_tokens"), "I")
    columns = {name: list(memoryview(records[name]).cast(kinds.get(name, "q"))) for name in names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_request_goes_its_way_once_and_in_order(engine: str) -> None:
    names = ("arrival_ps", "routed_ps", "scheduled_ps", "prefilled_ps", "decode_routed_ps", "transfer_start_ps")
    more = ("transfer_end_ps", "first_token_ps", "end_ps", "status", "reason", "replica", "prefill_replica")

    @settings(max_examples=80)
    @given(disaggregated(engine))
    def check(world: Disaggregated) -> None:
        records = world.records(max_passes=None)
        if records.get("run") != "completed":
            return
        prefills = world.run["pools"][0]["replicas"]
        given_up = world.run["handover"]["timeout_ps"]
        for row, request in enumerate(table(records, *names, *more, "output_tokens", "transferred_tokens")):
            assert (request["reason"] == TIMED_OUT) <= (request["status"] == REJECTED)
            if request["reason"] == TIMED_OUT:
                assert request["end_ps"] - request["arrival_ps"] >= given_up
            if request["status"] != COMPLETED:
                continue
            least = 1 if engine == "sglang" else 0  # SGLang gives a token whatever was asked for
            assert request["output_tokens"] <= max(world.trace["output_tokens"][row], least)
            assert request["replica"] >= prefills, "its decode replica"
            if request["prefill_replica"] == NONE:
                assert request["transfer_end_ps"] == NEVER, "it stayed"
                continue
            assert request["prefill_replica"] < prefills
            order = ("arrival_ps", "routed_ps", "scheduled_ps", "prefilled_ps", "transfer_end_ps")
            times = [request[name] for name in order]
            if request["output_tokens"]:
                times.append(request["first_token_ps"])
            times.append(request["end_ps"])
            assert times == sorted(times)
            assert NEVER not in times
            assert request["transfer_start_ps"] <= request["transfer_end_ps"]
            assert request["transferred_tokens"] > 0

    check()


@pytest.mark.parametrize("engine", ENGINES)
def test_no_block_is_lost(engine: str) -> None:
    """After the last request, and long after, no replica holds anything. A day is longer than the slowest transfers."""

    @settings(max_examples=50)
    @given(disaggregated(engine), st.just(0))
    def check(world: Disaggregated, _: int) -> None:
        trace = {name: list(values) if isinstance(values, list) else values for name, values in world.trace.items()}
        trace["arrival_ps"].append(10**17)
        for name, value in (("input_tokens", 1), ("output_tokens", 1), ("max_output_tokens", 1), ("priority", 0)):
            trace[name].append(value)
        trace["after"].append(-1)
        trace["block_ids"].append(max(trace["block_ids"], default=-1) + 1)
        trace["block_offsets"].append(len(trace["block_ids"]))
        if trace["wait_offsets"]:
            trace["wait_offsets"].append(trace["wait_offsets"][-1])
        late = Disaggregated(trace, world.run | {"users": None, "series_interval_ps": 10**16, "max_passes": None})
        records = late.records()
        if records.get("run") != "completed":
            return
        times, used = (
            memoryview(records[f"series.{name}"]).cast(kind) for name, kind in (("time_ps", "q"), ("used_blocks", "I"))
        )
        last = [blocks for time, blocks in zip(times, used, strict=True) if 9 * 10**16 <= time < 10**17]
        assert set(last) <= {0}

    check()
