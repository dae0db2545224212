"""Sessions whose turns repeat what was generated: exact with and without leaps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin import _core

from .. import small
from ..small import LEAPS, VLLM, affine
from .worlds import COLUMNS, MS, World, outcome, worlds

PER_REQUEST = tuple(name for name in COLUMNS)
UNFINISHED = 2
FAR_PS = 10**16
"""When nothing runs any more."""


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """Several at a time; each turn's chain covers its prompt and, mostly, its answer too."""
    block_tokens = draw(st.sampled_from([4, 16, 32]))
    rows: dict[str, list[int]] = {
        name: [] for name in ("arrival_ps", "input_tokens", "output_tokens", "max_output_tokens", "after", "block_ids")
    }
    offsets, next_id, start_ps = [0], 0, 0
    shared = [next_id + index for index in range(3)]
    next_id += len(shared)
    for _ in range(draw(st.integers(1, 8))):
        start_ps += draw(st.sampled_from([0, 1, 7 * MS, 60 * MS]))
        chain = list(shared[: draw(st.integers(0, 3))])
        context, before = len(chain) * block_tokens, -1
        for turn in range(draw(st.integers(1, 5))):
            prompt = context + draw(st.integers(1, 60))
            output = draw(st.integers(0, 40))
            context = prompt + output
            named = context if draw(st.integers(0, 4)) else prompt
            while len(chain) * block_tokens < named:
                chain.append(next_id)
                next_id += 1
            rows["arrival_ps"].append(draw(st.integers(0, 30 * MS)) if turn else start_ps)
            rows["input_tokens"].append(prompt)
            rows["output_tokens"].append(output)
            rows["max_output_tokens"].append(output + draw(st.integers(0, 3)))
            rows["after"].append(before)
            rows["block_ids"] += chain[: -(-named // block_tokens)]
            offsets.append(len(rows["block_ids"]))
            before = len(offsets) - 2
    dense = {block: index for index, block in enumerate(dict.fromkeys(rows["block_ids"]))}
    return {
        **rows,
        "priority": [0] * len(rows["after"]),
        "block_tokens": block_tokens,
        "block_ids": [dense[block] for block in rows["block_ids"]],
        "block_offsets": offsets,
    }


def with_an_eavesdropper(trace: dict[str, Any], row: int) -> dict[str, Any]:
    """With one more request, when all is over, that repeats an answer: now any pass may fill a block for others."""
    start, end = trace["block_offsets"][row : row + 2]
    chain = trace["block_ids"][start:end]
    prompt = len(chain) * trace["block_tokens"]
    more = {"arrival_ps": FAR_PS, "input_tokens": prompt, "output_tokens": 1, "max_output_tokens": 1, "after": -1}
    return {
        **trace,
        **{name: [*trace[name], value] for name, value in more.items()},
        "priority": [*trace["priority"], 0],
        "block_ids": [*trace["block_ids"], *chain],
        "block_offsets": [*trace["block_offsets"], len(trace["block_ids"]) + len(chain)],
    }


def tells_of_its_answer(trace: dict[str, Any], row: int) -> bool:
    blocks = trace["block_offsets"][row + 1] - trace["block_offsets"][row]
    return blocks > -(-trace["input_tokens"][row] // trace["block_tokens"])


@settings(max_examples=300)
@given(worlds(), conversations())
def test_leaping_over_conversations_changes_nothing(world: World, trace: dict[str, Any]) -> None:
    world = replace(world, trace=trace)
    leapt, stepped = outcome(world, leap=True), outcome(world, leap=False)
    assert leapt | {"leaps": 0} == stepped | {"leaps": 0}


@settings(max_examples=300)
@given(worlds(), conversations())
def test_an_answer_enters_the_cache_in_time_for_its_next_turn(world: World, trace: dict[str, Any]) -> None:
    """Entered when its request ends, or block by block as vLLM does it: no turn can tell.

    A replica that is stuck goes on when the last request comes: whoever had not ended by then is not compared.
    """
    rows = [row for row in range(len(trace["after"])) if tells_of_its_answer(trace, row)]
    if not rows:
        return
    run = world.run | {"users": None}
    ours = outcome(replace(world, trace=trace, run=run))
    watched = outcome(replace(world, trace=with_an_eavesdropper(trace, rows[0]), run=run))
    assert ("failure" in watched) == ("failure" in ours)
    if "failure" in ours:
        return
    ended = [row for row, status in enumerate(ours["status"]) if status != UNFINISHED]
    for name in PER_REQUEST:
        found, expected = values(watched[name], len(trace["after"]) + 1), values(ours[name], len(trace["after"]))
        assert [found[row] for row in ended] == [expected[row] for row in ended], name


def values(column: bytes, rows: int) -> list[bytes]:
    """Of each row, without leading zeros: a column that is 0 throughout may be empty."""
    size = len(column) // rows
    return [column[row * size : (row + 1) * size].rstrip(b"\0") for row in range(rows)]


@LEAPS
def test_a_turn_finds_the_answer_whose_blocks_a_pass_under_way_may_write_to(leap: bool) -> None:
    """The first might have gone on, so it is in the pass that is under way when it ends; its 48 tokens are cached."""
    speed = {"bytes_per_s": 10**12, "latency_ps": 0}
    offload = {"blocks": 100, "block_bytes": 160_000, "store": speed, "load": speed}
    engine = VLLM | {"enable_prefix_caching": True, "async_scheduling": True, "offload": offload}
    turns = small.trace(
        [0, 0],
        [32, 100],
        [17, 1],
        max_output_tokens=[20, 1],
        after=[-1, 0],
        blocks=[range(4), range(7)],
    )
    ran = small.simulate([{"engine": engine, "step_time": affine(10 * MS)}], turns, leap=leap)
    assert small.numbers(ran, "cached_tokens") == [0, 48]


def test_conversations_are_leapt_over() -> None:
    config = {
        "requests": 40,
        "block_tokens": 16,
        "arrivals": {"kind": "open", "gaps": {"cv": 1.0}, "rate": {"kind": "constant", "per_s": 2.0}},
        "classes": [
            {
                "input_tokens": {"kind": "constant", "value": 100},
                "output_tokens": {"kind": "constant", "value": 200},
                "sessions": {
                    "turns": {"kind": "constant", "value": 4},
                    "new_tokens": {"kind": "constant", "value": 30},
                    "think_time_ms": {"kind": "constant", "value": 1000},
                },
            }
        ],
    }
    trace = _core.Trace.generate(json.dumps(config))
    engine = VLLM | {"max_num_batched_tokens": 512, "max_model_len": 4096, "num_gpu_blocks": 2000}
    pool = {"engine": engine | {"enable_prefix_caching": True, "max_num_seqs": 16}, "step_time": affine(5 * MS)}
    ran = small.simulate([pool], trace)
    assert ran.leaps > 0
    assert ran.passes > 20 * ran.leaps
    cached = small.numbers(ran, "cached_tokens")
    # A later turn finds its predecessor's prompt and answer, but for the last block and the last token.
    assert cached[1] == (100 + 200 - 1) // 16 * 16
