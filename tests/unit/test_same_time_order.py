"""What happens first at equal times: one test for each row of the table in docs/semantics.md.

In every world here each pass takes exactly 10 ms, so that everything falls on the same picosecond.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from .. import small
from ..small import LEAPS, MS, Ran, affine
from ..small import VLLM as ENGINE

PASS = 10 * MS

NOW: dict[str, Any] = {"kind": "python", "interval_ps": 0, "delay_ps": 0}
"""A router that is shown the present."""


KV_AWARE = """{
    "kind": "kv_aware", "overlap_score_credit": 1, "overlap_score_credit_decay": 0, "prefill_load_scale": 1,
    "decode_active_request_weight": 0, "temperature": 0, "track_prefill_tokens": true, "track_active_blocks": true,
    "assume_kv_reuse": true, "use_kv_events": true, "ttl_ps": 0, "queue_threshold": null, "queue_policy": "fcfs"
}"""


def ticking(interval_ps: int, *, delay_ps: int = 0) -> dict[str, Any]:
    """A router that is shown what was sampled every `interval_ps`, `delay_ps` later."""
    return {"kind": "python", "interval_ps": interval_ps, "delay_ps": delay_ps}


class Witness:
    """A router that sends everything to replica 0 and keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.used_blocks: list[int] = []

    def route(self, request: Any, replicas: Sequence[Any]) -> int:
        view = replicas[0]
        self.seen.append((view.time_ps, view.running, view.waiting))
        self.used_blocks.append(view.used_blocks)
        return 0


class RequestOneApart:
    """Request 1 to replica 1, all others to replica 0."""

    def route(self, request: Any, replicas: Sequence[Any]) -> int:
        return int(request.index == 1)


def run(
    arrivals_ps: Sequence[int],
    outputs: Sequence[int],
    *,
    leap: bool,
    after: Sequence[int] | None = None,
    priority: Sequence[int] | None = None,
    router: dict[str, Any] | None = None,
    witness: object | None = None,
    replicas: int = 1,
    users: int | None = None,
    series_interval_ps: int = 1000 * MS,
    **engine: Any,
) -> Ran:
    """Requests of 8 prompt tokens; `outputs` tokens come one a pass, the first with the prompt's own pass."""
    pool = {"replicas": replicas, "engine": ENGINE | engine, "step_time": affine(PASS)}
    pool |= {} if router is None else {"router": router}
    requests = small.trace(arrivals_ps, [8] * len(arrivals_ps), outputs, priority=priority, after=after)
    every = {"series_interval_ps": series_interval_ps}
    return Ran(small.simulate([pool], requests, router=witness, leap=leap, users=users, **every))


@LEAPS
def test_results_before_an_arrival(leap: bool) -> None:
    """Request 0 ends as request 1 arrives: the router finds replica 0 empty again."""
    ran = run([0, PASS], [1, 1], leap=leap, replicas=2, router={"kind": "least_requests"})
    assert ran.end_ps[0] == ran.arrival_ps[1] == PASS
    assert ran.replica == [0, 0]


@LEAPS
def test_an_arrival_before_a_decision(leap: bool) -> None:
    """Request 1 arrives as a pass ends, and is in the next one."""
    ran = run([0, PASS], [5, 1], leap=leap)
    assert ran.scheduled_ps == [0, PASS]


@LEAPS
def test_results_before_a_decision(leap: bool) -> None:
    """The only place in the batch is freed by results, and taken by the decision of the same time."""
    ran = run([0, 0], [2, 1], leap=leap, max_num_seqs=1)
    assert ran.end_ps[0] == ran.scheduled_ps[1] == 2 * PASS


@LEAPS
def test_results_before_the_decision_of_another_replica(leap: bool) -> None:
    """A closed loop: results of replica 1 send request 2 to replica 0, into the pass decided there at that time."""
    ran = run([0] * 3, [5, 1, 1], leap=leap, replicas=2, users=2, router=NOW, witness=RequestOneApart())
    assert ran.replica == [0, 1, 0]
    assert ran.end_ps[1] == ran.arrival_ps[2] == ran.scheduled_ps[2] == PASS


@LEAPS
def test_results_of_all_replicas_before_the_arrivals_they_cause(leap: bool) -> None:
    """Requests 0 and 1 end at once on replicas 0 and 1, and request 2 goes on, on replica 0.

    Request 3, of the user whose request 0 ended, is routed when request 1 has left replica 1 too.
    """
    ran = run([0] * 5, [1, 1, 9, 1, 1], leap=leap, replicas=2, users=3, router={"kind": "least_requests"})
    assert ran.replica[:3] == [0, 1, 0]
    assert ran.end_ps[:2] == ran.arrival_ps[3:] == [PASS, PASS]
    assert ran.replica[3:] == [1, 0]


@LEAPS
def test_results_before_a_tick_of_telemetry(leap: bool) -> None:
    """A tick sees that the request has left."""
    witness = Witness()
    run([0, PASS + 1], [1, 1], leap=leap, router=ticking(PASS), witness=witness)
    assert witness.seen[1] == (PASS, 0, 0)


@LEAPS
def test_a_tick_of_telemetry_before_an_arrival(leap: bool) -> None:
    """Both arrivals of one time are shown the tick of that time, which saw neither."""
    witness = Witness()
    run([PASS, PASS], [1, 1], leap=leap, router=ticking(PASS), witness=witness)
    assert witness.seen == [(PASS, 0, 0), (PASS, 0, 0)]


@LEAPS
def test_a_tick_of_telemetry_before_a_decision(leap: bool) -> None:
    """Request 0 has ended, and request 1, which gets its place, still waits."""
    witness = Witness()
    ran = run([0, 0, PASS + 1], [1, 5, 1], leap=leap, router=ticking(PASS), witness=witness, max_num_seqs=1)
    assert ran.scheduled_ps[1] == PASS
    assert witness.seen[2] == (PASS, 0, 1)


@LEAPS
@pytest.mark.parametrize(("tick_ps", "used_blocks"), [(9 * PASS, 1), (9 * PASS + 1, 2)])
def test_a_tick_of_telemetry_before_a_decision_inside_a_leap(leap: bool, tick_ps: int, used_blocks: int) -> None:
    """The pass decided at 90 ms, the tenth of twenty, takes the request's second block."""
    witness = Witness()
    run([0, 2 * tick_ps - 1], [20, 1], leap=leap, router=ticking(tick_ps), witness=witness)
    assert witness.seen[1][0] == tick_ps
    assert witness.used_blocks[1] == used_blocks


@LEAPS
def test_a_view_that_comes_through_before_an_arrival(leap: bool) -> None:
    """What was sampled at 10 ms and takes 5 ms to come is shown at 15 ms, and not a picosecond earlier."""
    witness = Witness()
    router = ticking(PASS, delay_ps=5 * MS)
    run([0, 15 * MS - 1, 15 * MS], [9, 1, 1], leap=leap, router=router, witness=witness)
    assert [time_ps for time_ps, _, _ in witness.seen[1:]] == [0, PASS]


@LEAPS
def test_a_request_kept_back_before_an_arrival(leap: bool) -> None:
    """Request 1 waits for request 0's first token, as which request 2 arrives: it has to wait for that of request 1."""
    options = json.loads(KV_AWARE) | {"queue_threshold": 0.1}  # of 64 tokens: a prompt of 8 is too many
    ran = run([0, 1, PASS], [3, 3, 3], leap=leap, router=options)
    assert ran.routed_ps == [0, PASS, 2 * PASS]
    assert ran.scheduled_ps == ran.routed_ps


@LEAPS
def test_two_arrivals_in_the_order_of_the_trace(leap: bool) -> None:
    ran = run([0, 0, 0], [1, 1, 1], leap=leap, max_num_seqs=1)
    assert ran.scheduled_ps == [0, PASS, 2 * PASS]


@LEAPS
def test_an_earlier_arrival_is_seen_by_a_later_one_of_the_same_time(leap: bool) -> None:
    """Without an interval, views are of the present."""
    witness = Witness()
    run([0, 0], [1, 1], leap=leap, router=NOW, witness=witness)
    assert witness.seen == [(0, 0, 0), (0, 0, 1)]


@LEAPS
@pytest.mark.parametrize("follower", [1, 2])
def test_a_next_turn_and_an_arrival_in_the_order_of_the_trace(leap: bool, follower: int) -> None:
    """The next turn of a session and a request with its own time meet: the lower row goes first."""
    arrivals, after = [0, PASS, PASS], [-1, -1, -1]
    arrivals[follower], after[follower] = 0, 0
    ran = run(arrivals, [1, 1, 1], leap=leap, after=after, max_num_seqs=1)
    assert ran.arrival_ps == [0, PASS, PASS]
    assert ran.scheduled_ps == [0, PASS, 2 * PASS]


@LEAPS
def test_a_point_of_the_time_series_after_all_else(leap: bool) -> None:
    """At 10 ms request 0 ends, request 1 arrives and is scheduled: the point of that time shows it running."""
    ran = run([0, PASS, 3 * PASS], [1, 2, 1], leap=leap, series_interval_ps=PASS)
    assert ran.series("time_ps")[:3] == [0, PASS, 2 * PASS]
    assert ran.series("running")[:3] == [1, 1, 1]
    assert ran.series("waiting")[:3] == [0, 0, 0]


@LEAPS
def test_async_an_arrival_before_the_decision_at_the_start_of_a_pass(leap: bool) -> None:
    """Pass 2 starts at 10 ms, when pass 3 is decided: who arrives at 10 ms is in pass 3, later ones in pass 4."""
    ran = run([0, PASS, PASS + 1], [9, 1, 1], leap=leap, async_scheduling=True)
    assert ran.scheduled_ps == [0, PASS, 2 * PASS]
    assert ran.first_token_ps == [PASS, 3 * PASS, 4 * PASS]


@LEAPS
def test_a_pass_that_only_preempts_is_followed_at_its_own_time(leap: bool) -> None:
    """Two blocks for two requests that each need a second one at 90 ms, the first being the less important one.

    It gives way to itself, which ends that pass without a row; the other one's next token does not come later for it.
    """
    ran = run([0, 0], [10, 10], leap=leap, priority=[1, 0], scheduling_policy="priority", num_gpu_blocks=3)
    assert ran.preemptions == [1, 0]
    assert ran.end_ps == [11 * PASS, 10 * PASS]
