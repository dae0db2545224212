"""Data ranks on worlds small enough to follow by hand; times are in milliseconds.

A pass takes 10, 1 a prompt token and 2 a row that decodes, unless a test says otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest

from servetwin import _core

from .. import small
from ..small import LEAPS, MS, NO_TIME, SGLANG, VLLM, affine, gaps, numbers, series, times

TIMES = affine(10 * MS, prefill_token_ps=MS, decode_row_ps=2 * MS)
ASYNC = VLLM | {"async_scheduling": True}


def simulate(
    *rows: tuple[int, int, int],
    leap: bool,
    engine: dict[str, Any] = VLLM,
    times: dict[str, Any] = TIMES,
    in_step: bool = True,
    ranks: int = 2,
    sync_passes: int = 0,
    balance: str = "round_robin",
) -> _core.Run:
    """Rows of arrival in ms, prompt, output."""
    kinds = {"round_robin": {"kind": "round_robin"}, "score": {"kind": "score", "interval_ps": 100 * MS}}
    data = {"ranks": ranks, "in_step": in_step, "balance": kinds[balance], "sync_passes": sync_passes}
    pool = {"engine": engine, "step_time": times, "data": data}
    arrivals_ms, prompts, outputs = zip(*rows, strict=True)
    requests = small.trace([at * MS for at in arrivals_ms], prompts, outputs)
    return small.simulate([pool], requests, leap=leap, series_interval_ps=5 * MS)


def ranks(run: _core.Run) -> list[int]:
    return numbers(run, "rank")


@LEAPS
def test_a_pass_ends_with_the_slowest_rank(leap: bool) -> None:
    run = simulate((0, 5, 4), (0, 20, 2), leap=leap)
    assert ranks(run) == [0, 1]
    # Prompts: 15 and 30, so 30. Then a row each: 12. Then one rank is left, and the other runs a dummy.
    assert times(run, "first_token") == [30, 30]
    assert times(run, "last_token") == [30 + 12 + 12 + 12, 42]
    assert gaps(run) == [12, 12, 12, 12]
    assert run.passes == 4 + 2, "dummies are no passes of a scheduler"


@LEAPS
@pytest.mark.parametrize(
    ("rows", "sync_passes", "waited", "of"),
    [
        # Prompts: 15 and 30. A pass of 12 in which both decode, and two in which the second rank runs a dummy.
        (((0, 5, 4), (0, 20, 2)), 0, 15 + 2 * 12, 2 * 66),
        (((0, 5, 4), (0, 5, 4)), 0, 0, 2 * 51),
        # Passes of 15 and 12, then dummies of both ranks, which wait for nobody; from 39 on the second one's prompt.
        (((0, 5, 2), (30, 20, 1)), 4, 15 + 12 + 30, 2 * (15 + 12 + 30)),
    ],
    ids=["slow and idle", "alike", "both idle"],
)
def test_ranks_wait_for_the_slowest(leap: bool, rows: Any, sync_passes: int, waited: int, of: int) -> None:
    run = simulate(*rows, leap=leap, sync_passes=sync_passes)
    assert small.summary(run)["barrier_wait_share"] == waited / of


@LEAPS
@pytest.mark.parametrize(("ranks", "in_step"), [(1, True), (2, False)], ids=["one rank", "ranks apart"])
def test_without_others_in_step_there_is_no_barrier(leap: bool, ranks: int, in_step: bool) -> None:
    run = simulate((0, 5, 4), (0, 20, 2), leap=leap, ranks=ranks, in_step=in_step)
    assert "barrier_wait_share" not in small.summary(run)


@LEAPS
def test_ranks_apart_do_not_wait_for_each_other(leap: bool) -> None:
    run = simulate((0, 5, 4), (0, 20, 2), leap=leap, in_step=False)
    assert times(run, "first_token") == [15, 30]
    assert times(run, "last_token") == [15 + 3 * 12, 42]


@LEAPS
@pytest.mark.parametrize(
    ("engine", "joins_at"),
    [
        (VLLM, 39),
        # Its queue is looked at when the dummy pass ends, though the other rank has decided its next one by then.
        (ASYNC, 39),
        (SGLANG | {"disable_overlap_schedule": True}, 39),
        # With overlap all ranks go through the loop together: what comes in [27, 39) joins the pass after the next.
        (SGLANG, 51),
    ],
    ids=["vllm", "vllm-async", "sglang", "sglang-overlap"],
)
def test_an_idle_rank_joins_at_the_barrier(leap: bool, engine: dict[str, Any], joins_at: int) -> None:
    run = simulate((0, 5, 10), (30, 20, 1), leap=leap, engine=engine)
    # The first rank alone: 15, 27, 39, 51, ...; the second computes 20 tokens in 30, and the first waits for it.
    assert times(run, "first_token") == [15, joins_at + 30]
    assert times(run, "last_token")[0] == 15 + 9 * 12 + (30 - 12)
    assert gaps(run) == [12] * 8 + [30]


@LEAPS
@pytest.mark.parametrize(("sync_passes", "starts_at"), [(0, 30), (2, 30), (4, 39)])
def test_ranks_go_on_until_they_agree_that_nothing_is_left(leap: bool, sync_passes: int, starts_at: int) -> None:
    # Two passes, to 15 and 27; with 4, dummies of 12 to 39 and 51, in the first of which another request comes.
    run = simulate((0, 5, 2), (30, 20, 1), leap=leap, sync_passes=sync_passes)
    assert times(run, "first_token") == [15, starts_at + 30]


@LEAPS
def test_after_the_last_dummy_ranks_sleep(leap: bool) -> None:
    run = simulate((0, 5, 2), (52, 20, 1), leap=leap, sync_passes=4)
    assert times(run, "first_token") == [15, 52 + 30]


@LEAPS
def test_graphs_are_padded_to_the_rank_with_most_rows(leap: bool) -> None:
    """Tokens cost 1 each, and of each row its context, 1 a token; graphs of 1 and 4 rows were captured."""
    line = {"at": [0], "start_ps": [0], "slope_fps": [MS << 20]}
    none = {"at": [0], "start_ps": [0], "slope_fps": [0]}
    tabulated = {
        "kind": "tabulated",
        "host": NO_TIME,
        "graphs": {"decode_sizes": [1, 4], "piecewise_sizes": [], "padded": True, "piecewise_ps": 0, "eager_ps": 0},
        "tokens": line,
        "sequences": none,
        "decode": {"rows": [1, 100], "contexts": [1, 101], "ps": [[MS, 101 * MS], [100 * MS, 10100 * MS]]},
        "prompt": {"tokens": [1], "reach": [[1]], "ps": [[0]]},
        "mixed": None,
    }
    run = simulate((0, 50, 3), (0, 5, 3), (0, 1, 1), (0, 5, 3), leap=leap, times=tabulated)
    # Prompts: 50 + 1 tokens on one rank, 10 on the other: 51. The third request ends with that pass.
    # Then 1 row of 51 tokens and 2 rows of 6: alone 1 + 51, and padded to 4 as the others are, 4 + 51.
    assert times(run, "first_token") == [51, 51, 51, 51]
    assert times(run, "last_token") == [51 + 55 + 56, 51 + 55 + 56, 51, 51 + 55 + 56]
    # What is filled up is computed: 51 in the first pass. Then the two rows take 4 + 12 and 4 + 14.
    waited = (55 - 16) + (56 - 18)
    assert small.summary(run)["barrier_wait_share"] == pytest.approx(waited / (2 * (51 + 55 + 56)), rel=1e-4)


@LEAPS
def test_a_request_goes_where_fewest_wait_and_run(leap: bool) -> None:
    rows = ((0, 5, 30), (0, 5, 1), (0, 5, 1), (150, 5, 1), (151, 5, 1), (152, 5, 1))
    run = simulate(*rows, leap=leap, ranks=3, balance="score")
    # All alike at first, so one each. At 100 one runs on the first rank, and what is sent from then on counts by four.
    assert ranks(run) == [0, 1, 2, 1, 2, 0]


@LEAPS
@pytest.mark.parametrize(("interval", "first_token"), [(1, 27 + 14 + 2), (2, 27 + 14 + 2), (3, 39 + 14 + 2)])
def test_prompts_wait_for_a_pass_of_the_cadence(leap: bool, interval: int, first_token: int) -> None:
    # One row decodes from 15 on, in passes 1, 2, ... of 12. A prompt of 4 comes in pass 1, [15, 27): it would be
    # computed beside it in pass 2; with 3, only in pass 3.
    engine = VLLM | {"prefill_schedule_interval": interval}
    run = simulate((0, 5, 10), (0, 1, 1), (20, 4, 1), leap=leap, engine=engine)
    assert ranks(run) == [0, 1, 0]
    assert times(run, "first_token")[2] == first_token


@LEAPS
def test_a_cadence_holds_nobody_back_who_has_nothing_to_decode(leap: bool) -> None:
    engine = VLLM | {"prefill_schedule_interval": 3}
    run = simulate((0, 5, 10), (20, 4, 1), leap=leap, engine=engine)
    assert times(run, "first_token") == [15, 27 + 14]


@LEAPS
def test_a_cadence_is_left_while_a_pass_cannot_take_in_all(leap: bool) -> None:
    # Passes of 15, 12 and 12; two prompts of 64 have come. Pass 3 has room for 63 tokens of the first, so pass 4 goes
    # on: 1 of the first, 62 of the second. Pass 5 leaves the last 2 to pass 6.
    engine = VLLM | {"prefill_schedule_interval": 3}
    run = simulate((0, 5, 10), (0, 1, 1), (20, 64, 1), (20, 1, 1), (20, 64, 1), leap=leap, engine=engine)
    assert ranks(run) == [0, 1, 0, 1, 0]
    assert times(run, "first_token") == [15, 15, 39 + 75 + 75, 39, 39 + 75 + 75 + 12 + 14]


@LEAPS
def test_views_and_series_add_up_the_ranks(leap: bool) -> None:
    run = simulate((0, 5, 4), (0, 20, 2), leap=leap)
    # Every 5 ms: both run until 42, one until 66.
    assert series(run, "running") == [2] * 9 + [1] * 5
