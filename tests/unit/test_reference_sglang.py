"""The SGLang reference against small cases computed by hand."""

from __future__ import annotations

import pytest

from servetwin.errors import ServetwinError
from servetwin.reference import Affine, Linear, Request
from servetwin.reference.sglang import EngineConfig, RunRecord, run
from servetwin.reference.sglang.new_token_ratio import NewTokenRatio
from servetwin.reference.sglang.state import RequestState

US = 10**6
MS = 10**9
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
    }
    return Request(**{**fields, **options})  # type: ignore[arg-type]


def simulate(*requests: Request, max_passes: int | None = None, **options: object) -> RunRecord:
    pool = int(str(options.setdefault("max_total_tokens", 1000)))
    options.setdefault("max_running_requests", min(64, pool // 2))
    config = EngineConfig(**options)  # type: ignore[arg-type]
    return run(requests, config, STEP_TIME, max_passes=max_passes)


def rows(record: RunRecord) -> list[list[list[int]]]:
    return [one.scheduled for one in record.passes]


def kinds(record: RunRecord) -> str:
    return "".join(one.kind for one in record.passes)


def test_one_request_alone() -> None:
    record = simulate(request(0, 10, 3, arrival_ps=7 * US), max_total_tokens=100, max_running_requests=8)
    assert kinds(record) == "EDD"
    assert rows(record) == [[[0, 10, 0]], [[0, 1, 10]], [[0, 1, 11]]]
    assert [one.dt_ps // US for one in record.passes] == [1110, 1111, 1112]
    assert [one.t_ps // US for one in record.passes] == [7, 1117, 2228]
    assert [one.running for one in record.passes] == [0, 1, 1], "a prefill joins when the next pass is decided"
    assert [(one.available, one.evictable) for one in record.passes] == [(90, 0), (89, 0), (88, 0)]
    last = record.passes[-1]
    assert last.finished == [0]
    assert (last.available_end, last.evictable_end) == (88, 12), "all but the last token stay in the cache"
    (life,) = record.requests
    assert (life.first_scheduled_ps, life.first_token_ps) == (7 * US, 1117 * US)
    assert life.finish_ps == record.end_ps == 3340 * US
    assert (life.n_in, life.n_out, life.cached, life.retractions) == (10, 3, 0, 0)


def test_prefill_comes_first_and_stalls_decodes() -> None:
    record = simulate(request(0, 4, 3), request(1, 4, 2, arrival_ps=1))
    assert kinds(record) == "EEDD"
    assert rows(record)[1:] == [[[1, 4, 0]], [[0, 1, 4], [1, 1, 4]], [[0, 1, 5]]]


def test_a_long_prompt_is_chunked_one_at_a_time() -> None:
    record = simulate(request(0, 20, 2), request(1, 20, 1), chunked_prefill_size=8)
    assert rows(record) == [
        [[0, 8, 0]],
        [[0, 8, 8]],
        [[0, 4, 16], [1, 4, 0]],
        [[1, 8, 4]],
        [[1, 8, 12]],
        [[0, 1, 20]],
    ]
    assert [one.chunked for one in record.passes] == [0, 0, 1, 1, None, None]


def test_a_first_chunk_ends_at_a_page_and_charges_are_whole_pages() -> None:
    """Two prompts of 5 tokens take four pages of 4 out of five: a page is left for the third, not 8 tokens."""
    record = simulate(
        *(request(i, n_in, 1) for i, n_in in enumerate((5, 5, 30))),
        page_size=4,
        chunked_prefill_size=20,
    )
    assert rows(record) == [[[0, 5, 0], [1, 5, 0], [2, 4, 0]], [[2, 20, 4]], [[2, 6, 24]]]


def test_mixed_passes_charge_decodes_to_the_chunk() -> None:
    record = simulate(
        request(0, 4, 4), request(1, 20, 1, arrival_ps=1), chunked_prefill_size=8, enable_mixed_chunk=True
    )
    assert kinds(record) == "EMMM"
    assert rows(record)[1:] == [
        [[1, 7, 0], [0, 1, 4]],
        [[1, 7, 7], [0, 1, 5]],
        [[1, 6, 14], [0, 1, 6]],
    ]
    assert [one.running for one in record.passes] == [0, 0, 0, 0], "what is mixed in has left the running batch"


def test_without_chunks_only_the_first_prompt_may_exceed_the_input_budget() -> None:
    record = simulate(*(request(i, 50, 1) for i in range(3)), chunked_prefill_size=None, max_prefill_tokens=101)
    assert [len(one) for one in rows(record)] == [2, 1]
    record = simulate(*(request(i, 50, 1) for i in range(3)), chunked_prefill_size=None, max_prefill_tokens=40)
    assert [len(one) for one in rows(record)] == [1, 1, 1]


def test_with_chunks_the_input_budget_is_checked_between_requests_only() -> None:
    record = simulate(*(request(i, 50, 1) for i in range(3)), chunked_prefill_size=512, max_prefill_tokens=60)
    assert [len(one) for one in rows(record)] == [2, 1]


@pytest.mark.parametrize(("pool", "together"), [(32, False), (33, True)])
def test_admission_reserves_input_output_and_a_page_and_leaves_one_token(pool: int, together: bool) -> None:
    """Each asks for 10 + 5 + 1, and 16 is not less than the 16 that the first leaves of 32."""
    record = simulate(request(0, 10, 5), request(1, 10, 5), max_total_tokens=pool, max_running_requests=8)
    assert len(rows(record)[0]) == (2 if together else 1)


def test_running_requests_are_expected_to_use_a_share_of_their_limit() -> None:
    """The first is owed 0.7 · 39 at the second's arrival, all 39 if it ignores the end of its text."""
    asked = request(0, 10, 40), request(1, 20, 1, arrival_ps=1)
    # 70 - 10 - 27.3 = 32.7 of 22 wanted; 70 - 10 - 39 = 21.
    assert kinds(simulate(*asked, max_total_tokens=70, ignore_eos=False))[:2] == "EE"
    assert kinds(simulate(*asked, max_total_tokens=70, ignore_eos=True))[:2] == "ED"


def test_a_full_batch_tries_no_prefill_until_somebody_leaves() -> None:
    record = simulate(request(0, 4, 3), request(1, 4, 5), request(2, 4, 1), max_running_requests=2)
    assert kinds(record) == "EDDEDD"
    assert rows(record)[3] == [[2, 4, 0]]


def test_the_ratio_decays_by_repeated_subtraction_and_starts_anew_when_idle() -> None:
    record = simulate(request(0, 4, 300), request(1, 4, 2, arrival_ps=10**13), ignore_eos=False)
    step = (0.7 - 0.7 * 0.14) / 600
    expected = 0.7
    for one in record.passes[1:300]:
        expected = max(expected - step, 0.7 * 0.14)
        assert one.ratio == expected
    assert record.passes[300].ratio == 0.7
    assert expected != 0.7 - 299 * step, "a closed form would do"


def test_the_ratio_has_a_floor_and_a_ceiling() -> None:
    ratio = NewTokenRatio(2.0)
    assert ratio.current == 1.0
    for _ in range(700):
        ratio.decay()
    assert ratio.current == 0.14
    assert NewTokenRatio(0.0).current == 0.0


def test_retraction_takes_the_fewest_outputs_then_the_longest_prompt() -> None:
    """Both have 13 outputs when 39 of 40 slots are used: the longer prompt goes, to the queue's tail."""
    record = simulate(
        request(0, 10, 25),
        request(1, 5, 20, arrival_ps=1),
        request(2, 30, 2, arrival_ps=10 * MS),
        max_total_tokens=40,
        ignore_eos=False,
        schedule_conservativeness=0.1,
    )
    index = next(i for i, one in enumerate(record.passes) if one.retracted)
    one = record.passes[index]
    assert one.retracted == [0]
    assert one.scheduled == [[1, 1, 17]]
    assert one.waiting == 2
    assert one.ratio == 1.0
    # Its outputs are not stored; its prompt was, but 20 slots are freed for the one that is left.
    assert (one.available, one.evictable) == (40 - 5 - 13, 0)
    assert (record.requests[0].retractions, record.requests[0].n_out) == (1, 25)
    later = [row[0] for two in rows(record)[index + 1 :] for row in two if row[0] != 1]
    assert later[0] == 2, "those that waited before go first"
    again = next(row for two in record.passes[index:] if two.kind == "E" for row in two.scheduled if row[0] == 0)
    assert again == [0, 23, 0], "its outputs are computed again, but kept"


def test_the_ratio_after_a_retraction_is_that_of_those_left() -> None:
    left = RequestState(request(0, 4, 0), tokens=list(range(7)), num_prompt=4, max_new_tokens=100, ignore_eos=False)
    ratio = NewTokenRatio(1.0)
    ratio.retracted([left, left])
    assert ratio.current == (6 + 2 * 20) / (200 + 1)


def test_a_hit_leaves_the_last_token_and_is_whole_pages() -> None:
    prompt = list(range(8))
    for page, cached in ((1, 7), (4, 4), (16, 0)):
        first, second = (request(i, 8, 1, prompt=prompt, arrival_ps=i * 10**12) for i in range(2))
        record = simulate(first, second, page_size=page, max_total_tokens=960)
        assert record.requests[1].cached == cached, page


def test_requests_of_one_prefill_share_nothing_and_only_one_copy_stays() -> None:
    prompt = list(range(9))
    record = simulate(*(request(i, 9, 1, prompt=prompt) for i in range(2)), max_total_tokens=100)
    assert rows(record) == [[[0, 9, 0], [1, 9, 0]]]
    assert (record.passes[0].available_end, record.passes[0].evictable_end) == (91, 9)


def test_a_later_prompt_hits_what_an_earlier_request_generated() -> None:
    first = request(0, 6, 4)
    history = [*first.prompt, *first.outputs, 77]
    second = request(1, 11, 1, prompt=history, arrival_ps=10**12)
    assert simulate(first, second).requests[1].cached == 9


def test_the_cache_gives_way_to_prefills() -> None:
    """Of 50 slots, two finished requests keep 20 each; 30 fresh tokens evict the older one."""
    asked = [request(i, 20, 1, arrival_ps=i * 10**12) for i in range(2)]
    again = request(3, 21, 1, prompt=[*asked[1].prompt, -5], arrival_ps=3 * 10**12)
    record = simulate(*asked, request(2, 28, 1, arrival_ps=2 * 10**12), again, max_total_tokens=50)
    assert [(one.available_end, one.evictable_end) for one in record.passes[:3]] == [(30, 20), (10, 40), (2, 48)]
    assert record.requests[3].cached == 20


def test_longest_prefix_first_holds_back_a_shared_prefix_until_it_is_cached() -> None:
    """1 and 2 begin alike, and nothing of them is cached: 2 goes behind all others."""
    shared = list(range(5000, 5040))
    hit = request(3, 60, 1, prompt=[*shared, *range(20)], arrival_ps=10**12)
    alike = [
        request(i, 50, 1, prompt=[*range(7000, 7040), *range(100 * i, 100 * i + 10)], arrival_ps=10**12) for i in (1, 2)
    ]
    asked = [request(0, 40, 1, prompt=shared), *alike, hit, request(4, 30, 1, arrival_ps=10**12)]
    record = simulate(*asked, schedule_policy="lpm", max_running_requests=3)
    assert [[row[0] for row in one] for one in rows(record)] == [[0], [3, 1, 4], [2]]
    assert [record.requests[i].cached for i in (3, 1, 4, 2)] == [40, 0, 0, 40]


def test_fcfs_keeps_waiting_prefixes_from_eviction_every_32nd_time() -> None:
    """What waits uses the oldest prefix of the cache. It survives if its turn is the 33rd attempt."""
    for fillers, cached in ((29, 0), (30, 20)):
        old, young = (request(i, 20, 1, arrival_ps=i * 10**10) for i in range(2))
        between = [request(i, 1, 1, arrival_ps=i * 10**10) for i in range(2, 2 + fillers)]
        late = 10**12
        big = request(2 + fillers, 100 - fillers, 3, arrival_ps=late)
        back = request(3 + fillers, 25, 1, prompt=[*old.prompt, 1, 2, 3, 4, 5], arrival_ps=late)
        record = simulate(old, young, *between, big, back, max_total_tokens=130, max_running_requests=1)
        assert record.requests[-1].cached == cached, fillers


def test_outputs_are_evicted_without_their_prompt() -> None:
    """Also where both were computed in one prefill: the first is retracted, and stored again as 10 + 13 tokens."""
    first = request(0, 10, 25)
    fresh = request(2, 25, 1, arrival_ps=10**12)
    back = request(3, 12, 1, prompt=[*first.prompt, -1, -2], arrival_ps=2 * 10**12)
    record = simulate(
        *(first, request(1, 5, 20, arrival_ps=1), fresh, back),
        max_total_tokens=40,
        ignore_eos=False,
        schedule_conservativeness=0.1,
    )
    assert [0, 23, 0] in [row for rows_of_pass in rows(record) for row in rows_of_pass]
    assert record.requests[3].cached == 10


def test_one_that_does_not_fit_waits_until_somebody_leaves() -> None:
    """With the ratio, what is promised shrinks in every pass, and soon it would fit; but nobody looks."""
    first = request(0, 10, 30, max_output_tokens=900)
    record = simulate(first, request(1, 360, 1, arrival_ps=1), ignore_eos=False)
    assert kinds(record) == "E" + 29 * "D" + "E"


def urgent(**options: object) -> RunRecord:
    asked = [request(i, 10, 20, arrival_ps=i, priority=p) for i, p in enumerate((0, 3))]
    late = request(2, 10, 2, arrival_ps=5 * MS, priority=9)
    return simulate(*asked, late, **{"max_running_requests": 2, "enable_priority_scheduling": True, **options})


def test_an_urgent_request_preempts_the_least_urgent() -> None:
    record = urgent(priority_scheduling_preemption_threshold=8)
    (one,) = (one for one in record.passes if one.preempted)
    assert one.preempted == [0]
    assert one.scheduled == [[2, 10, 0]]
    assert one.waiting == 1
    assert record.requests[0].retractions == 1


def test_preemption_has_a_threshold_a_direction_and_a_switch() -> None:
    for options in (
        {"priority_scheduling_preemption_threshold": 9},
        {"priority_scheduling_preemption_threshold": 0, "schedule_low_priority_values_first": True},
        {"priority_scheduling_preemption_threshold": 0, "disable_priority_preemption": True},
    ):
        assert not any(one.preempted for one in urgent(**options).passes), options


def test_nobody_is_preempted_in_vain() -> None:
    """One of the two may be pushed out, and that would not be enough."""
    asked = [request(i, 10, 20, arrival_ps=i, priority=p) for i, p in enumerate((0, 8))]
    late = request(2, 5, 55, arrival_ps=5 * MS, priority=9)
    record = simulate(
        *asked,
        late,
        max_total_tokens=70,
        max_running_requests=2,
        enable_priority_scheduling=True,
        priority_scheduling_preemption_threshold=5,
    )
    assert len(record.passes[2].scheduled) == 2
    assert not any(one.preempted for one in record.passes)


def test_priority_orders_the_queue() -> None:
    asked = [request(i, 4, 1, priority=p) for i, p in enumerate((1, 5, 3, 5))]
    options = {"enable_priority_scheduling": True, "chunked_prefill_size": 4}
    assert [row[0][0] for row in rows(simulate(*asked, **options))] == [1, 3, 2, 0]
    options["schedule_low_priority_values_first"] = True
    assert [row[0][0] for row in rows(simulate(*asked, **options))] == [0, 2, 1, 3]


def test_without_a_cache_lifetimes_of_known_length_are_foreseen() -> None:
    """The short one frees its slots before the long one needs them: 63 slots serve both."""
    asked = request(0, 20, 30), request(1, 10, 3)
    options = {"disable_radix_cache": True, "max_total_tokens": 63}
    assert len(rows(simulate(*asked, **options))[0]) == 2
    # With a cache, 10 + 3 + 1 is not less than 63 - 51 for the second.
    assert len(rows(simulate(*asked, max_total_tokens=63))[0]) == 1


def test_outputs_that_cannot_fit_are_cut_off() -> None:
    """To pool - prompt, in whole pages, - page - 1."""
    assert simulate(request(0, 10, 500), max_total_tokens=100).requests[0].n_out == 88
    assert simulate(request(0, 10, 500), max_total_tokens=96, page_size=16).requests[0].n_out == 63
    assert simulate(request(0, 10, 500), context_length=50).requests[0].n_out == 38


def test_a_prompt_that_cannot_fit_is_aborted_after_a_token() -> None:
    record = simulate(request(0, 94, 5), max_total_tokens=100)
    assert rows(record) == [[[0, 1, 0]]]
    assert (record.requests[0].n_out, record.requests[0].n_in) == (1, 94)
    assert simulate(request(0, 93, 5), max_total_tokens=100).requests[0].n_out == 5


def test_one_that_just_fits_is_never_admitted_without_a_cache() -> None:
    """Outputs cut off to fit leave one token, and the simulation of lifetimes wants more than one."""
    record = simulate(request(0, 10, 500), max_total_tokens=100, disable_radix_cache=True)
    assert record.stuck is not None
    assert record.stuck.live == [0]
    assert not record.passes


def overlapping(*requests: Request, **options: object) -> RunRecord:
    return simulate(*requests, disable_overlap_schedule=False, **options)


def test_overlap_decides_a_pass_while_the_one_before_runs() -> None:
    record = overlapping(request(0, 10, 3, arrival_ps=7 * US))
    assert rows(record) == [[[0, 10, 0]], [[0, 1, 10]], [[0, 1, 11]]], "none after the last by its limit"
    assert [one.t_ps // US for one in record.passes] == [7, 1117, 2228]
    assert [one.scheduled_at_ps // US for one in record.passes] == [7, 7, 1117]
    assert record.requests[0].finish_ps == record.end_ps == 3340 * US
    last = record.passes[-1]
    assert (last.available_end, last.evictable_end) == (988, 12)


def test_overlap_an_arrival_waits_for_a_decision_more() -> None:
    asked = request(0, 4, 9), request(1, 4, 2, arrival_ps=1)
    assert kinds(simulate(*asked))[:3] == "EED"
    assert kinds(overlapping(*asked))[:3] == "EDE"


def test_overlap_a_stop_before_the_limit_costs_a_pass_more() -> None:
    """Its end is seen only when its next row is on the device, which stores one token more."""
    early = request(0, 10, 3, max_output_tokens=50)
    record = overlapping(early)
    assert rows(record) == [[[0, 10, 0]], [[0, 1, 10]], [[0, 1, 11]], [[0, 1, 12]]]
    assert [one.finished for one in record.passes] == [[], [], [0], []]
    assert record.requests[0].n_out == 3
    assert (record.passes[-1].available_end, record.passes[-1].evictable_end) == (987, 13)
    assert len(rows(simulate(early))) == 3


def test_overlap_a_retraction_loses_the_token_on_its_way() -> None:
    record = overlapping(
        request(0, 10, 25),
        request(1, 5, 20, arrival_ps=1),
        max_total_tokens=40,
        ignore_eos=False,
        schedule_conservativeness=0.1,
    )
    index, one = next((i, one) for i, one in enumerate(record.passes) if one.retracted)
    (victim,) = one.retracted
    kv = next(row[2] for row in record.passes[index - 1].scheduled if row[0] == victim)
    again = next(two for two in record.passes[index:] if two.kind == "E").scheduled[0]
    assert again[:2] == [victim, kv + 1 - again[2]], "its tokens without the one on its way"
    assert record.requests[victim].n_out == (25, 20)[victim]


@pytest.mark.parametrize(
    ("option", "value", "beside"),
    [
        ("schedule_policy", "lof", {}),
        ("schedule_policy", "lpm", {"enable_priority_scheduling": True}),
        ("chunked_prefill_size", 100, {"page_size": 16, "max_total_tokens": 960}),
        ("max_total_tokens", 1000, {"page_size": 16}),
        ("max_running_requests", 501, {}),
    ],
)
def test_what_sglang_refuses_is_refused(option: str, value: object, beside: dict[str, object]) -> None:
    with pytest.raises(ServetwinError, match=rf"engine\.{option} is {value!r}"):
        simulate(request(0, 1, 1), **{**beside, option: value})
