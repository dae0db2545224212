"""Prefill and decode pools of TensorRT-LLM: times worked out by hand.

Every pass takes 10 ms. A prompt of 16 tokens is one block of 16 MB, which the link carries in 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from servetwin.describe import resolve, run_description
from servetwin.errors import SpecError
from servetwin.spec import make_spec

from .. import small
from ..small import HANDOVER, LEAPS, MS, TRTLLM, Ran, affine

PASS = 10 * MS
NEVER, REJECTED = -1, 1


def run(
    arrivals_ps: Sequence[int],
    outputs: Sequence[int],
    *,
    leap: bool,
    prompts: Sequence[int] | None = None,
    blocks: Sequence[Iterable[int]] | None = None,
    prefill: dict[str, Any] | None = None,
    decode: dict[str, Any] | None = None,
    handover: dict[str, Any] | None = None,
    limits: Sequence[int] | None = None,
    link: dict[str, int] | None = None,
) -> Ran:
    engines = {"prefill": TRTLLM | (prefill or {}), "decode": TRTLLM | (decode or {})}
    pools = [{"role": role, "engine": engine, "step_time": affine(PASS)} for role, engine in engines.items()]
    requests = small.trace(
        arrivals_ps, prompts or [16] * len(arrivals_ps), outputs, max_output_tokens=limits, blocks=blocks
    )
    links = [link or {"bytes_per_s": 1_600_000_000, "latency_ps": 0}]
    return Ran(
        small.simulate(pools, requests, leap=leap, links=links, handover=HANDOVER | {"pushes": True} | (handover or {}))
    )


@LEAPS
def test_the_way_of_one_request(leap: bool) -> None:
    """The first token comes with the prompt: no pass of the decode replica gives it."""
    ran = run([0], [4], leap=leap, handover={"control_ps": 2 * MS, "setup_ps": MS})
    assert ran.prefilled_ps == [PASS]
    assert ran.decode_routed_ps == [PASS + 2 * MS]
    assert ran.transfer_start_ps == [PASS + 2 * MS + 2 * MS + MS], "it reserves, and asks the source"
    assert ran.transfer_end_ps == [ran.transfer_start_ps[0] + PASS]
    assert ran.first_token_ps == ran.transfer_end_ps
    assert ran.end_ps == [ran.first_token_ps[0] + 3 * PASS]
    assert (ran.prefill_replica, ran.replica, ran.output_tokens, ran.transferred_tokens) == ([0], [1], [4], [16])


@LEAPS
def test_a_request_of_one_token_ends_when_it_arrives(leap: bool) -> None:
    ran = run([0], [1], leap=leap)
    assert ran.end_ps == ran.first_token_ps == [2 * PASS]


@LEAPS
def test_who_arrives_in_a_pass_gives_its_first_token_when_the_next_one_starts(leap: bool) -> None:
    """The second prompt is there at 40 ms, in the midst of a pass of the first request, from 35 to 45 ms."""
    ran = run([0, PASS + 5 * MS], [9, 2], leap=leap, handover={"setup_ps": 5 * MS})
    assert ran.transfer_end_ps == [25 * MS, 40 * MS]
    assert ran.first_token_ps == [25 * MS, 45 * MS]
    assert ran.end_ps[1] == 55 * MS


@LEAPS
def test_a_computed_prompt_is_pinned_until_it_is_sent(leap: bool) -> None:
    ran = run([0, 0], [1, 1], leap=leap, prefill={"num_blocks": 3}, prompts=[16, 32])
    assert ran.scheduled_ps == [0, 2 * PASS]


@LEAPS
def test_a_place_of_a_batch_is_free_while_its_prompt_is_sent(leap: bool) -> None:
    ran = run([0, 0], [1, 1], leap=leap, prefill={"max_batch_size": 1})
    assert ran.scheduled_ps == [0, PASS]


@LEAPS
def test_room_is_there_for_all_that_a_request_may_come_to(leap: bool) -> None:
    """Five blocks: two prompts and their answers of up to 33 tokens, three blocks each, do not fit at once."""
    ran = run([0, 0], [3, 3], limits=[33, 33], leap=leap, decode={"num_blocks": 5})
    assert ran.transfer_start_ps == [PASS, ran.end_ps[0]]


@LEAPS
def test_those_on_their_way_take_places_of_the_batch(leap: bool) -> None:
    ran = run([0, 0], [2, 2], leap=leap, decode={"max_batch_size": 1})
    assert ran.transfer_start_ps == [PASS, ran.end_ps[0]]


@LEAPS
def test_what_a_decode_replica_has_cached_is_not_sent(leap: bool) -> None:
    reuse = {"enable_block_reuse": True}
    ran = run(
        [0, 100 * PASS], [1, 1], leap=leap, prompts=[33, 33], blocks=[[1, 2, 3], [1, 2, 4]], prefill=reuse, decode=reuse
    )
    assert ran.cached_tokens == [0, 32], "of the prefill replica"
    assert ran.transferred_tokens == [48, 16]


@LEAPS
def test_what_takes_too_long_ends(leap: bool) -> None:
    """The decode replica has room for one: the second waits for it, and its pinned block comes free."""
    ran = run(
        [0, 0, 5 * PASS], [90, 2, 2], leap=leap, prefill={"num_blocks": 3}, decode={"num_blocks": 7},
        handover={"timeout_ps": 30 * MS},
    )  # fmt: skip
    assert ran.status[:2] == [0, REJECTED]
    assert ran.end_ps[1] == 2 * PASS + 30 * MS, "a prompt and its token are two blocks, and one was pinned at first"
    assert ran.scheduled_ps[2] == 5 * PASS


@LEAPS
def test_without_a_timeout_a_request_waits_as_long_as_it_takes(leap: bool) -> None:
    """16 MB at 1 MB/s take 16 s."""
    slow = {"bytes_per_s": 1_000_000, "latency_ps": 0}
    ran = run([0], [1], leap=leap, link=slow, handover={"timeout_ps": None})
    assert ran.end_ps == [PASS + 16_000 * MS]


SPEC: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "gpu": "h100",
    "engine": {"name": "trtllm", "max_seq_len": 2048, "max_batch_size": 64},
    "pools": {"prefill": {"replicas": 2}, "decode": {"replicas": 3}},
    "workload": {"kind": "poisson", "requests": 20, "rate_per_s": 20, "input_tokens": 500, "output_tokens": 50},
}


def test_the_spec_says_how_trtllm_hands_over() -> None:
    spec = make_spec(SPEC)
    handover = run_description(spec, resolve(spec), leap=True, own_router=False)["handover"]
    assert (handover["order"], handover["pushes"]) == ("source_first", True)
    assert handover["timeout_ps"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"handover": {"local_prefill_tokens": 100}}, "conditional disaggregation is not yet modelled"),
        ({"engine": {"scheduler_config": {"capacity_scheduler_policy": "MAX_UTILIZATION"}}}, "GUARANTEED_NO_EVICT"),
        (
            {"engine": {"batch_wait_timeout_iters": 3, "batch_wait_max_tokens_ratio": 0.5}},
            "no pass of these pools has both",
        ),
        ({"handover": {"layerwise": True}}, "sends what a pass has computed when the pass is over"),
        ({"parallel": {"pipeline": 2}}, "pipeline stages"),
    ],
    ids=["conditional", "policy", "waits", "layers", "stages"],
)
def test_what_is_not_modelled_is_refused(changes: dict[str, Any], message: str) -> None:
    engine = SPEC["engine"] | changes.get("engine", {})
    with pytest.raises(SpecError, match=message):
        resolve(make_spec(SPEC | changes | {"engine": engine}))
