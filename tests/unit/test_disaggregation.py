"""Prefill and decode pools of vLLM: times worked out by hand, and what happens first at equal times.

Every pass takes 10 ms. A prompt of 16 tokens is one block of 16 MB, which the link carries in 10 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from servetwin import _core

from .. import small
from ..small import HANDOVER, LEAPS, MS, Ran, affine
from ..small import VLLM as ENGINE

PASS = 10 * MS
NEVER, NONE = -1, 2**32 - 1
REJECTED = 1


def run(
    arrivals_ps: Sequence[int],
    outputs: Sequence[int],
    *,
    leap: bool,
    prompts: Sequence[int] | None = None,
    prefill: dict[str, Any] | None = None,
    decode: dict[str, Any] | None = None,
    handover: dict[str, Any] | None = None,
    link: dict[str, int] | None = None,
    ports: Sequence[list[dict[str, Any]]] = ((), ()),
    links: Sequence[dict[str, int]] = (),
    replicas: tuple[int, int] = (1, 1),
    routers: tuple[dict[str, Any], dict[str, Any]] | None = None,
    priority: Sequence[int] | None = None,
    stages: int = 1,
    front: dict[str, int] | None = None,
    data: dict[str, Any] | None = None,
) -> Ran:
    routers = routers or ({"kind": "round_robin"}, {"kind": "least_requests"})
    pools = [
        {
            "role": role,
            "replicas": replicas[index],
            "engine": ENGINE | ((prefill, decode)[index] or {}),
            "step_time": affine(PASS),
            "router": routers[index],
            "ports": list(ports[index]),
        }
        for index, role in enumerate(("prefill", "decode"))
    ]
    if stages > 1:
        pools[0]["pipeline"] = {"kinds": [affine(PASS)], "stages": [0] * stages}
    pools[1]["front"] = front or {}
    if data is not None:
        pools[1]["data"] = data
    requests = small.trace(arrivals_ps, prompts or [16] * len(arrivals_ps), outputs, priority=priority)
    links = [link or {"bytes_per_s": 1_600_000_000, "latency_ps": 0}, *links]
    return Ran(small.simulate(pools, requests, leap=leap, links=links, handover=HANDOVER | (handover or {})))


@LEAPS
def test_the_way_of_one_request(leap: bool) -> None:
    """Prompt, message, reservation, first contact, setup, latency, bytes, the last token again, and the rest."""
    times = {"control_ps": 2 * MS, "bootstrap_ps": 5 * MS, "setup_ps": MS}
    ran = run([0], [4], leap=leap, handover=times, link={"bytes_per_s": 1_600_000_000, "latency_ps": 3 * MS})
    assert ran.prefilled_ps == [PASS]
    assert ran.decode_routed_ps == [PASS + 2 * MS]
    assert ran.transfer_start_ps == [PASS + 2 * MS + 5 * MS + MS + 3 * MS]
    assert ran.transfer_end_ps == [ran.transfer_start_ps[0] + PASS]
    assert ran.first_token_ps == [ran.transfer_end_ps[0] + PASS]
    assert ran.end_ps == [ran.first_token_ps[0] + 3 * PASS]
    assert (ran.prefill_replica, ran.replica, ran.output_tokens, ran.transferred_tokens) == ([0], [1], [4], [16])


@LEAPS
def test_stages_push_once_they_are_told_where_to(leap: bool) -> None:
    """A pass in each of two stages; the decode replica answers with a message, and the source needs none after."""
    times = {"control_ps": 2 * MS, "bootstrap_ps": 5 * MS, "setup_ps": MS, "pushes": True}
    rows = {"prefill": {"num_gpu_blocks": 2}, "stages": 2}
    ran = run(
        [0, 0], [4, 1], leap=leap, handover=times, link={"bytes_per_s": 1_600_000_000, "latency_ps": 3 * MS}, **rows
    )
    assert ran.prefilled_ps[0] == 2 * PASS
    assert ran.decode_routed_ps[0] == 2 * PASS + 2 * MS
    assert ran.transfer_start_ps[0] == 2 * PASS + 2 * MS + 5 * MS + 2 * MS + MS + 3 * MS
    assert ran.transfer_end_ps[0] == ran.transfer_start_ps[0] + PASS
    assert ran.first_token_ps[0] == ran.transfer_end_ps[0] + PASS
    assert ran.scheduled_ps[1] == ran.transfer_end_ps[0], "the block is free as soon as it is sent"


@LEAPS
def test_two_replicas_meet_once(leap: bool) -> None:
    ran = run([0, 100 * PASS], [1, 1], leap=leap, handover={"bootstrap_ps": 5 * MS})
    waited = [start - routed for start, routed in zip(ran.transfer_start_ps, ran.decode_routed_ps, strict=True)]
    assert waited == [5 * MS, 0]


@LEAPS
def test_transfers_share_the_link(leap: bool) -> None:
    """Both prompts are computed in one pass; their 16 MB and 32 MB share 1.6 GB/s: 20 ms, then 10 ms alone."""
    ran = run([0, 0], [1, 1], prompts=[16, 32], leap=leap)
    assert ran.transfer_start_ps == [PASS, PASS]
    assert ran.transfer_end_ps == [3 * PASS, 4 * PASS]


@LEAPS
def test_a_transfer_goes_by_nvlink_within_a_domain_and_by_the_network_beyond(leap: bool) -> None:
    links = [{"bytes_per_s": speed, "latency_ps": 0} for speed in (16_000_000_000, 1_600_000_000) * 3]
    port = [{"nvlink_domain": domain, "nvlink": 1 + 2 * n, "nic": 2 + 2 * n} for n, domain in enumerate((0, 0, 1))]
    in_turn = ({"kind": "round_robin"}, {"kind": "round_robin"})
    ran = run(
        [0, 100 * PASS],
        [1, 1],
        leap=leap,
        replicas=(1, 2),
        links=links,
        ports=(port[:1], port[1:]),
        routers=in_turn,
        handover={"links": []},
    )
    took = [end - start for start, end in zip(ran.transfer_start_ps, ran.transfer_end_ps, strict=True)]
    assert (ran.replica, took) == ([1, 2], [MS, PASS])


@LEAPS
def test_a_computed_prompt_is_held_until_it_is_fetched(leap: bool) -> None:
    """The prefill replica has room for one prompt: the next starts when it hears that the first was fetched."""
    ran = run([0, 0], [1, 1], leap=leap, prefill={"num_gpu_blocks": 2}, handover={"control_ps": 2 * MS})
    fetched_ps = ran.transfer_end_ps[0]
    assert fetched_ps == PASS + 2 * MS + PASS
    assert ran.scheduled_ps == [0, fetched_ps + 2 * MS]


@LEAPS
def test_room_for_the_whole_prompt_comes_before_its_transfer(leap: bool) -> None:
    """The decode replica has three blocks: the second prompt of two waits there until the first request has ended."""
    ran = run([0, 0], [3, 3], prompts=[32, 32], leap=leap, decode={"num_gpu_blocks": 4})
    assert ran.prefilled_ps == [PASS, PASS]
    assert ran.transfer_start_ps[1] == ran.end_ps[0]


@LEAPS
def test_what_takes_too_long_ends(leap: bool) -> None:
    """16 MB at 1 MB/s take 16 s. The client is told after 50 ms, and the next prompt gets the room of the first."""
    slow = {"bytes_per_s": 1_000_000, "latency_ps": 0}
    ran = run([0, 0], [1, 1], leap=leap, prefill={"num_gpu_blocks": 2}, link=slow, handover={"timeout_ps": 50 * MS})
    assert (ran.status, ran.reason) == ([REJECTED] * 2, [10] * 2)
    assert ran.end_ps == [PASS + 50 * MS, 2 * PASS + 100 * MS]
    assert ran.scheduled_ps == [0, PASS + 50 * MS]
    assert ran.first_token_ps == [NEVER, NEVER]


@LEAPS
def test_no_time_of_a_hand_over_is_too_long_for_the_last_days_of_a_run(leap: bool) -> None:
    """Picoseconds of 199 days need more than 64 bits."""
    day_ps = 24 * 3600 * 1000 * MS
    ran = run([99 * day_ps], [1], leap=leap, handover={"timeout_ps": 100 * day_ps})
    assert (ran.status, ran.end_ps) == ([0], [99 * day_ps + 3 * PASS])
    for time in ("bootstrap_ps", "control_ps", "setup_ps"):
        with pytest.raises(_core.InputError, match="over 100 days"):
            run([99 * day_ps], [1], leap=leap, handover={time: 100 * day_ps})


@LEAPS
def test_short_prompts_stay(leap: bool) -> None:
    ran = run([0, 0], [2, 2], prompts=[16, 33], leap=leap, handover={"local_prefill_tokens": 32})
    assert ran.prefill_replica == [NONE, 0]
    assert ran.transfer_end_ps[0] == NEVER
    assert ran.first_token_ps[0] == PASS
    assert ran.scheduled_ps[0] == 0


@pytest.mark.parametrize(
    ("decode", "reason"), [({"num_gpu_blocks": 2}, 8), ({"max_model_len": 40}, 9)], ids=["blocks", "context"]
)
def test_what_no_decode_replica_can_hold_is_refused_on_arrival(decode: dict[str, Any], reason: int) -> None:
    ran = run([0], [20], prompts=[32], leap=True, decode=decode)
    assert (ran.status, ran.reason, ran.end_ps) == ([REJECTED], [reason], [0])


@LEAPS
def test_results_before_a_transfer(leap: bool) -> None:
    """Request 0 ends as request 1 is sent to a decode replica: the router finds replica 1 empty again."""
    alone = run([0], [2], leap=leap)
    ran = run([0, alone.end_ps[0] - PASS], [2, 1], leap=leap, replicas=(1, 2))
    assert ran.end_ps[0] == ran.decode_routed_ps[1]
    assert ran.replica == [1, 1]


@LEAPS
def test_a_transfer_before_an_arrival(leap: bool) -> None:
    """Request 1 arrives as request 0 is sent to the same decode replica, where only one of them has room."""
    ran = run(
        [0, PASS],
        [1, 1],
        leap=leap,
        prompts=[33, 16],
        handover={"local_prefill_tokens": 32},
        decode={"num_gpu_blocks": 4},
    )
    assert ran.decode_routed_ps[0] == ran.arrival_ps[1] == PASS
    assert ran.transfer_start_ps[0] == PASS
    assert ran.scheduled_ps[1] == ran.end_ps[0]


@LEAPS
def test_a_transfer_before_a_decision(leap: bool) -> None:
    """The prompt of request 1 arrives as a pass of request 0 ends, and is in the next one."""
    ran = run([0, 2 * PASS], [9, 1], leap=leap)
    assert ran.transfer_end_ps == [2 * PASS, 4 * PASS]
    assert ran.first_token_ps == [3 * PASS, 5 * PASS]


@LEAPS
def test_transfers_of_one_time_end_in_the_order_of_requests(leap: bool) -> None:
    """Both prompts arrive at once at a replica with one place, whatever order they were sent in."""
    ran = run(
        [0, 0],
        [1, 1],
        leap=leap,
        decode={"max_num_seqs": 1},
        prefill={"scheduling_policy": "priority"},
        priority=[1, 0],
    )
    assert ran.transfer_end_ps == [3 * PASS, 3 * PASS]
    assert sorted(ran.first_token_ps) == [4 * PASS, 5 * PASS]


@LEAPS
def test_a_decode_replica_has_a_server_that_reads_the_request_as_well(leap: bool) -> None:
    """3 ms and 0.25 ms a token: 7 ms after it was sent there, it joins the queue; one that stays does so too."""
    front = {"request_ps": 3 * MS, "prompt_token_ps": MS // 4}
    ran = run([0, 0], [2, 2], prompts=[16, 48], leap=leap, front=front, handover={"local_prefill_tokens": 32})
    assert ran.decode_routed_ps == [NEVER, PASS]
    assert ran.routed_ps == [0, 0]
    assert ran.scheduled_ps[0] == 7 * MS
    assert ran.transfer_start_ps[1] == 27 * MS, "sent there at 10 ms, in its queue at 25 ms, in the midst of a pass"


@LEAPS
def test_a_request_that_is_given_up_while_it_is_read_joins_no_queue(leap: bool) -> None:
    front = {"request_ps": 80 * MS}
    ran = run([0, 0], [1, 1], leap=leap, front=front, prefill={"num_gpu_blocks": 2}, handover={"timeout_ps": 50 * MS})
    assert (ran.status, ran.end_ps[0]) == ([REJECTED] * 2, PASS + 50 * MS)
    assert ran.transfer_start_ps == [NEVER, NEVER]


@LEAPS
def test_a_request_that_is_given_up_while_it_is_read_takes_no_turn_of_the_data_ranks(leap: bool) -> None:
    """A rank is chosen when a request is dispatched (`get_core_engine_for_request` in vllm/v1/engine/core_client.py),
    and an abort goes to the rank that has it, or nowhere."""
    data = {"ranks": 2, "in_step": False, "balance": {"kind": "round_robin"}, "sync_passes": 0}
    front = {"prompt_token_ps": MS}
    ran = run(
        [0, 10 * PASS, 10 * PASS], [1, 1, 1], leap=leap, prompts=[64, 16, 16], front=front, data=data,
        handover={"timeout_ps": 50 * MS},
    )  # fmt: skip
    assert ran.status == [REJECTED, 0, 0]
    assert ran.rank == [NONE, 0, 1]
