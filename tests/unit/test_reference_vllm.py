"""The vLLM reference against small cases computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servetwin.errors import ServetwinError
from servetwin.reference import (
    Affine,
    DecodeGrid,
    Features,
    Graphs,
    Line,
    Linear,
    MixedGrid,
    Polynomial,
    PromptGrid,
    Request,
    Tabulated,
)
from servetwin.reference.acceptance import draw, mix
from servetwin.reference.vllm import Cycle, Drawn, EngineConfig, RunRecord, run
from servetwin.reference.vllm.block_pool import BlockPool, PrefixKeys

US = 10**6
STEP_TIME = Affine(
    host=Linear(),
    terms=(Linear(base_ps=1000 * US, prefill_token_ps=10 * US, decode_row_ps=100 * US, context_ps=US),),
)
"""1 ms a pass, 10 µs a prefill token, 100 µs a decode row, 1 µs a token of context."""


def request(index: int, n_in: int, n_out: int, *, arrival_ps: int = 0, **options: object) -> Request:
    """A request that shares no token with any other."""
    fields: dict[str, object] = {
        "index": index,
        "prompt": range(1000 * index, 1000 * index + n_in),
        "outputs": range(-1000 * (index + 1), -1000 * (index + 1) + n_out),
        "max_output_tokens": n_out,
        "arrival_ps": arrival_ps,
        "id_rank": index,
    }
    return Request(**{**fields, **options})  # type: ignore[arg-type]


def simulate(*requests: Request, max_passes: int | None = None, **options: object) -> RunRecord:
    config = EngineConfig(**{"block_size": 4, "num_gpu_blocks": 101, **options})  # type: ignore[arg-type]
    return run(requests, config, STEP_TIME, max_passes=max_passes)


def rows(record: RunRecord) -> list[list[list[int]]]:
    return [one.scheduled for one in record.passes]


def test_one_request_alone() -> None:
    record = simulate(request(0, 10, 3, arrival_ps=7 * US))
    assert rows(record) == [[[0, 10, 0, 0]], [[0, 1, 10, 0]], [[0, 1, 11, 0]]]
    assert [one.dt_ps // US for one in record.passes] == [1110, 1111, 1112]
    assert [one.t_ps // US for one in record.passes] == [7, 1117, 2228]
    assert record.passes[0].blocks == {0: [1, 2, 3]}
    assert [one.free for one in record.passes] == [97, 97, 97]
    assert record.passes[2].finished == [0]
    assert record.passes[2].free_end == 100
    (life,) = record.requests
    assert (life.first_scheduled_ps, life.first_token_ps) == (7 * US, 1117 * US)
    assert life.finish_ps == record.end_ps == 3340 * US
    assert (life.n_in, life.n_out, life.passes, life.cached) == (10, 3, 3, 0)


def test_a_long_prompt_is_chunked_and_decodes_go_first() -> None:
    record = simulate(request(0, 4, 4), request(1, 20, 1, arrival_ps=1), max_num_batched_tokens=8)
    assert rows(record) == [
        [[0, 4, 0, 0]],
        [[0, 1, 4, 0], [1, 7, 0, 0]],
        [[0, 1, 5, 0], [1, 7, 7, 0]],
        [[0, 1, 6, 0], [1, 6, 14, 0]],
    ]


def test_without_chunks_a_prompt_waits_for_budget() -> None:
    record = simulate(
        request(0, 5, 1),
        request(1, 6, 1),
        request(2, 1, 1),
        max_num_batched_tokens=8,
        enable_chunked_prefill=False,
    )
    assert rows(record) == [[[0, 5, 0, 0]], [[1, 6, 0, 0], [2, 1, 0, 0]]]


def test_the_long_prefill_cap_is_lifted_for_a_request_alone() -> None:
    for version, chunks in (("0.32", [20]), ("0.19", [8, 8, 4])):
        record = simulate(request(0, 20, 1), version=version, long_prefill_token_threshold=8)
        assert [row[1] for (row,) in rows(record)] == chunks


def test_the_adaptive_cap_is_a_fair_share_of_the_budget() -> None:
    record = simulate(
        request(0, 30, 1),
        request(1, 30, 1),
        max_num_batched_tokens=40,
        long_prefill_token_threshold=8,
        long_prefill_token_threshold_adaptive=True,
    )
    assert rows(record)[0] == [[0, 20, 0, 0], [1, 20, 0, 0]]


def test_a_stored_prompt_gives_up_its_last_block() -> None:
    prompt = list(range(8))
    first, second = (request(i, 8, 1, prompt=prompt, arrival_ps=i * 10**12) for i in range(2))
    record = simulate(first, second)
    assert rows(record)[1] == [[1, 4, 4, 0]]
    assert record.requests[1].cached == 4


def test_a_request_hits_blocks_allotted_in_the_same_pass() -> None:
    prompt = list(range(9))
    record = simulate(*(request(i, 9, 1, prompt=prompt) for i in range(2)))
    assert rows(record) == [[[0, 9, 0, 0], [1, 1, 8, 0]]]
    assert record.passes[0].blocks == {0: [1, 2, 3], 1: [1, 2, 4]}


def test_a_later_prompt_hits_what_an_earlier_request_generated() -> None:
    first = request(0, 6, 4)
    history = [*first.prompt, *first.outputs, 77]
    second = request(1, 11, 1, prompt=history, arrival_ps=10**12)
    assert simulate(first, second).requests[1].cached == 8


def test_preemption_takes_the_last_and_resumes_it_whole() -> None:
    record = simulate(request(0, 4, 8), request(1, 4, 8), num_gpu_blocks=5, enable_prefix_caching=False)
    assert [one.preempted for one in record.passes] == [[]] * 5 + [[1]] + [[]] * 5
    starved = record.passes[5]
    assert starved.scheduled == [[0, 1, 8, 0]]
    assert starved.blocks == {0: [4]}, "the victim's last block is reused first"
    assert (starved.free, starved.running, starved.waiting) == (1, 1, 1)
    assert record.passes[8].scheduled == [[1, 9, 0, 0]]
    assert record.passes[8].resumed == [1]
    assert record.requests[1].preemptions == 1
    assert record.requests[1].cached_resume == [0]
    assert [life.n_out for life in record.requests] == [8, 8]


def test_priority_takes_a_scheduled_victim_out_again() -> None:
    record = simulate(
        request(0, 9, 3, priority=1),
        request(1, 4, 3, arrival_ps=1),
        num_gpu_blocks=5,
        enable_prefix_caching=False,
        scheduling_policy="priority",
    )
    assert rows(record)[:2] == [[[0, 9, 0, 0]], [[0, 1, 9, 0], [1, 4, 0, 0]]]
    starved = record.passes[2]
    assert starved.preempted == [0], "less urgent, though ahead and scheduled already"
    assert starved.scheduled == [[1, 1, 4, 0]]
    assert record.requests[0].passes == 3, "the row that was taken out does not count"


def test_the_full_prompt_check_and_the_watermark_hold_back_admissions() -> None:
    chunked = {"max_num_batched_tokens": 16, "num_gpu_blocks": 11}
    first, second = request(0, 16, 4), request(1, 28, 1, arrival_ps=1)
    held = simulate(first, second, **chunked)
    assert [row[0] for row in rows(held)[1]] == [0]
    unchecked = simulate(first, second, scheduler_reserve_full_isl=False, **chunked)
    assert [row[0] for row in rows(unchecked)[1]] == [0, 1]
    marked = simulate(first, second, scheduler_reserve_full_isl=False, watermark_blocks=2, **chunked)
    assert [row[0] for row in rows(marked)[1]] == [0]


def test_async_schedules_one_pass_ahead() -> None:
    record = simulate(request(0, 4, 3), async_scheduling=True)
    assert rows(record) == [[[0, 4, 0, 0]], [[0, 1, 4, 0]], [[0, 1, 5, 0]]]
    assert [one.scheduled_at_ps for one in record.passes] == [0, 0, record.passes[1].t_ps]
    assert record.passes[1].t_ps == record.passes[0].dt_ps


@pytest.mark.parametrize(("asynchronous", "passes"), [(False, 2), (True, 3)])
def test_an_early_stop_is_a_surprise_to_the_scheduler(asynchronous: bool, passes: int) -> None:
    record = simulate(request(0, 4, 2, max_output_tokens=9), async_scheduling=asynchronous)
    assert len(record.passes) == passes, "async: the pass after the last was scheduled already"
    assert record.requests[0].n_out == 2
    assert record.requests[0].finish_ps == record.passes[1].t_ps + record.passes[1].dt_ps
    assert record.passes[-1].free_end == 100


@pytest.mark.parametrize("asynchronous", [False, True])
def test_no_output_is_a_prefill_only(asynchronous: bool) -> None:
    record = simulate(request(0, 4, 0), async_scheduling=asynchronous)
    assert rows(record) == [[[0, 4, 0, 0]]]
    (life,) = record.requests
    assert (life.first_token_ps, life.n_out, life.output_times) == (None, 0, [])
    assert life.finish_ps == record.passes[0].dt_ps


def test_the_context_limit_ends_a_request() -> None:
    record = simulate(request(0, 4, 50), max_model_len=8)
    assert record.requests[0].n_out == 4


def test_drafts_are_accepted_in_a_cycle_and_cut_at_the_limit() -> None:
    record = simulate(request(0, 4, 7), num_speculative_tokens=3, acceptance=Cycle((2, 0, 3)))
    assert rows(record) == [[[0, 4, 0, 0]], [[0, 4, 4, 3]], [[0, 4, 7, 3]], [[0, 4, 8, 3]]]
    assert [one.accepted for one in record.passes] == [{}, {0: 2}, {0: 0}, {0: 1}]
    assert [count for _, count in record.requests[0].output_times] == [1, 3, 1, 2]


def test_a_single_token_is_padded_with_rejected_drafts() -> None:
    prompt = list(range(5))
    pair = [request(i, 5, 2, prompt=prompt, arrival_ps=i * 10**12) for i in range(2)]
    for version, tokens in (("0.32", [1, 4, 4, 3]), ("0.19", [1, 1, 4, 0])):
        record = simulate(*pair, version=version, num_speculative_tokens=3, acceptance=Cycle((0,)))
        (hit,) = [one.scheduled[0] for one in record.passes if one.new == [1]]
        assert hit == tokens


def test_a_worker_that_can_admit_nothing_is_stuck() -> None:
    record = simulate(request(0, 30, 1), request(1, 4, 1), num_gpu_blocks=6)
    assert record.passes == []
    assert record.stuck is not None
    assert record.stuck.waiting == [0, 1]


def test_equally_urgent_requests_can_preempt_each_other_for_ever() -> None:
    """Of equals, the first in the batch is the victim, so whoever is ahead gives up."""
    options = {
        "num_gpu_blocks": 9,
        "max_num_batched_tokens": 8,
        "long_prefill_token_threshold": 4,
        "enable_prefix_caching": False,
        "scheduler_reserve_full_isl": False,
    }
    pair = request(0, 32, 1), request(1, 32, 1)
    record = simulate(*pair, scheduling_policy="priority", max_passes=500, **options)
    assert len(record.passes) == 500
    assert all(life.finish_ps is None and life.preemptions > 20 for life in record.requests)
    assert all(life.finish_ps for life in simulate(*pair, **options).requests)


def test_arrivals_by_step_come_right_before_that_schedule() -> None:
    late = replace(request(1, 4, 1), arrival_ps=None, step=2)
    record = simulate(request(0, 4, 5), late)
    assert [one.new for one in record.passes] == [[0], [], [1], [], []]
    assert record.requests[1].arrival_ps == record.passes[2].t_ps


def test_freed_blocks_queue_up() -> None:
    for unhashed_first, order in ((True, [3, 2, 4, 5, 1]), (False, [4, 5, 3, 2, 1])):
        pool = BlockPool(6, caching=True, unhashed_first=unhashed_first)
        blocks = pool.take(3)
        pool.insert(blocks[0], key=7)
        pool.release(blocks)
        assert pool.find(7) == 1
        assert [pool.take(1)[0] for _ in range(5)] == order
        assert pool.find(7) is None, "handed out again"


def test_of_equal_blocks_the_first_inserted_is_hit() -> None:
    pool = BlockPool(4, caching=True, unhashed_first=True)
    one, two = pool.take(2)
    pool.insert(two, key=7)
    pool.insert(one, key=7)
    assert pool.find(7) == two
    pool.hold([two])
    pool.release([two])
    assert pool.find(7) == two
    assert not pool.is_free(two)


def test_keys_name_whole_chains() -> None:
    keys = PrefixKeys(2)
    first: list[int] = []
    second: list[int] = []
    keys.extend(first, [1, 2, 3, 4, 5])
    keys.extend(second, [9, 2, 3, 4])
    assert len(first) == 2
    assert first[1] != second[1]
    keys.extend(first, [1, 2, 3, 4, 5, 6])
    assert len(first) == 3


def test_draws_are_splitmix64() -> None:
    assert mix(0) == 0xE220A8397B1DCDAF
    chained = mix(5)
    for key in (3, 2, 1):
        chained = mix(chained ^ mix(key))
    assert draw(5, 3, 2, 1) == chained


def test_a_request_takes_one_outcome_after_the_other() -> None:
    drawn = Drawn((3, 0, 2, 1), seed=1)
    for request in range(9):
        counts = [drawn.accepted(request, ordinal, 3) for ordinal in range(12)]
        assert sorted(counts[:6]) == [0, 0, 0, 2, 2, 3]
        assert counts[6:] == counts[:6]
        assert [drawn.accepted(request, ordinal, 1) for ordinal in range(6)] == [min(count, 1) for count in counts[:6]]
    assert len({tuple(drawn.accepted(request, i, 3) for i in range(6)) for request in range(50)}) == 6


def test_a_drafting_head_holds_slots_ahead_and_computes_the_last_block_again() -> None:
    """Blocks of 4: 9 tokens and 3 slots take 3 of them; then 10 + 3 drafts + 3 slots take 4."""
    eagle = {"num_speculative_tokens": 3, "acceptance": Cycle((0,)), "num_lookahead_tokens": 3}
    same = {"prompt": range(9), "outputs": range(100, 103), "max_output_tokens": 3}
    two = [request(index, 9, 3, arrival_ps=index * 10**12, **same) for index in range(2)]
    record = simulate(*two, **eagle, eagle_block_drop=True)
    first, second = record.passes[0], record.passes[1]
    assert (first.scheduled, len(first.blocks[0])) == ([[0, 9, 0, 0]], 3)
    assert (second.scheduled, len(second.blocks[0])) == ([[0, 4, 9, 3]], 1)
    # Two whole blocks are cached; the second of them is computed again.
    assert [one.cached for one in record.requests] == [0, 4]
    assert [one.cached for one in simulate(*two, **eagle).requests] == [0, 8]
    old = simulate(*two, **eagle, version="0.19", num_gpu_blocks=30)
    assert [len(one.blocks[0]) for one in old.passes[:2]] == [3, 1]


def test_drafts_follow_the_number_of_requests_in_the_pass_before() -> None:
    few = {"num_speculative_tokens": 2, "acceptance": Cycle((0,)), "num_speculative_tokens_per_batch_size": ((2, 0),)}
    record = simulate(request(0, 4, 6), request(1, 4, 3, arrival_ps=1100 * US), **few)
    rows = [[tuple(row) for row in one.scheduled] for one in record.passes]
    # Index, tokens, computed, drafts. The second is admitted beside a row with drafts, and leaves with its third token.
    assert rows[:4] == [[(0, 4, 0, 0)], [(0, 3, 4, 2)], [(0, 3, 5, 2), (1, 4, 0, 0)], [(0, 1, 6, 0), (1, 1, 4, 0)]]
    assert rows[4:] == [[(0, 1, 7, 0), (1, 1, 5, 0)], [(0, 1, 8, 0)]]


def features(**given: int) -> Features:
    names = Features.__dataclass_fields__
    return Features(**{name: given.get(name, 0) for name in names})


def test_affine_step_time() -> None:
    one = Linear(base_ps=10, prefill_token_ps=3, work_fps=-1, sequence_ps=2)
    two = Linear(decode_row_ps=100, context_ps=1)
    model = Affine(host=Linear(base_ps=5), terms=(one, two))
    # -1 * 3 >> 20 rounds down to -1.
    assert model.picoseconds(features(prefill_tokens=2, prefill_work=3, sequences=1)) == 5 + 17
    assert model.picoseconds(features(decode_rows=1, context=7)) == 5 + 107
    assert Affine(host=Linear(), terms=()).picoseconds(features()) == 1


def test_polynomial_step_time() -> None:
    one = 1 << 20
    model = Polynomial((2 * one, one, 3 * one), 10, start_ps=(100, 200), slope_ps=(5, 1))
    assert model.picoseconds(features(prefill_tokens=4)) == 2 * 16 + 4 + 3
    assert model.picoseconds(features(ready_rows=1, ready_context=7)) == 135
    assert model.picoseconds(features(ready_rows=1, ready_context=35)) == 225
    assert model.picoseconds(features(context=35)) == 1


def test_tabulated_step_time() -> None:
    one = 1 << 20
    model = Tabulated(
        host=Linear(base_ps=1000),
        graphs=Graphs(decode_sizes=(1, 2, 8), piecewise_sizes=(16,), piecewise_ps=500, eager_ps=100),
        tokens=Line((1, 8), (10, 80), (10 * one, 5 * one)),
        sequences=Line((1,), (1,), (one,)),
        decode=DecodeGrid((1, 3), (0, 100), ((0, 100), (0, 300))),
        prompt=PromptGrid((1, 16), ((0, 16), (0, 16)), ((0, 16), (0, 256))),
        mixed=MixedGrid((1,), ((1,),), (1,), ((0, 50),), ((7, 57),)),
    )
    # Three rows fill a graph of eight: 80 for the tokens, 3 for the rows, a picosecond for each token of context.
    assert model.picoseconds(features(decode_rows=3, context=30, sequences=3)) == 1000 + 80 + 3 + 30
    # Two that verify three drafts each fill it too; each draft gets logits.
    drafting = {"decode_rows": 2, "draft_tokens": 6, "context": 30, "sequences": 2}
    assert model.picoseconds(features(**drafting)) == 1000 + 80 + 8 + 30
    # Nine do not; the pieces' launches take longer than the work.
    assert model.picoseconds(features(decode_rows=9, context=90, sequences=9)) == 1000 + 500
    # A prompt of 16 without a past: 120 for its tokens, 256 for its attention. One of 20 fills no graph; shares of
    # a cell round down.
    prompt = {"prefill_tokens": 16, "prefill_work": 256, "prefill_context": 16, "context": 16, "sequences": 1}
    assert model.picoseconds(features(**prompt)) == 1000 + max(500, 120 + 256 + 1)
    prompt = {"prefill_tokens": 20, "prefill_work": 400, "prefill_context": 20, "context": 20, "sequences": 1}
    assert model.picoseconds(features(**prompt)) == 1000 + 140 + 399 + 1
    # With rows that decode, the joint table has the attention: 10 tokens of context on average.
    mixed = prompt | {"decode_rows": 2, "context": 40, "sequences": 3}
    assert model.picoseconds(features(**mixed)) == 1000 + 150 + 16 + 3


@pytest.mark.parametrize(
    "options",
    [
        {"version": "0.25"},
        {"scheduling_policy": "lifo"},
        {"version": "0.19", "watermark_blocks": 1},
        {"version": "0.19", "long_prefill_token_threshold_adaptive": True},
        {"num_speculative_tokens": 1},
    ],
)
def test_options_that_are_not_modelled_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ServetwinError, match=r"engine|speculation"):
        EngineConfig(**options)  # type: ignore[arg-type]
