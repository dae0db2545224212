"""Proofs hold: no run does better than its bounds say, and nothing that is pruned belongs to the answer."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from servetwin.plan.bounds import Bounds
from servetwin.plan.cheapest import price
from servetwin.plan.folder import create
from servetwin.plan.frontier import best
from servetwin.plan.highest import value_of
from servetwin.plan.make import plan
from servetwin.plan.runs import Run, Runner
from servetwin.plan.space import Candidate, space_of
from servetwin.plan.study import Point
from servetwin.spec import Spec, make_spec
from servetwin.timing.floor import Floor
from servetwin.timing.tables import Line
from servetwin.workload import open_workload

ENGINES: tuple[dict[str, Any], ...] = (
    {"name": "vllm", "max_model_len": 8192},
    {"name": "vllm", "max_model_len": 8192, "async_scheduling": False, "enable_prefix_caching": False},
    {"name": "vllm", "max_model_len": 4096, "num_gpu_blocks": 400, "max_num_seqs": 32},  # preempts
    {"name": "sglang", "context_length": 8192},
    {"name": "sglang", "context_length": 8192, "chunked_prefill_size": 512, "disable_radix_cache": True},
    {"name": "trtllm", "max_seq_len": 8192},
)

TIMINGS: tuple[dict[str, Any], ...] = (
    {"kind": "analytic"},
    {"kind": "linear", "base_ms": 5, "prefill_token_ms": 0.05, "decode_row_ms": 0.1},
    {"kind": "linear", "base_ms": 1, "prefill_token_ms": 0.2, "decode_row_ms": 0.4},
)


def _world(draws: random.Random) -> dict[str, Any]:
    return {
        "model": "llama-3.1-8b",
        "gpu": draws.choice(["h100", "a100"]),
        "engine": draws.choice(ENGINES),
        "timing": draws.choice(TIMINGS),
        "workload": {
            "kind": "poisson",
            "requests": 150,
            "rate_per_s": draws.choice([0.5, 5, 50]),
            "input_tokens": {"p50": draws.choice([30, 300]), "p99": 1500, "max": 3000},
            "output_tokens": draws.choice([1, 20, {"p50": 30, "p99": 100, "max": 200}]),
            "prefix": {"groups": 3, "tokens": 256, "share": draws.choice([0.01, 0.8]), "zipf": 1.0},
        },
        "seed": draws.randrange(100),
    }


def _level(draws: random.Random) -> dict[str, Any]:
    """Near what such runs do, so that some limits can be met and others cannot."""
    level: dict[str, Any] = {}
    if draws.random() < 0.7:
        level["ttft_ms"] = draws.choice(
            [{"p50": draws.uniform(1, 30)}, {"p95": draws.uniform(2, 100)}, draws.uniform(2, 100)]
        )
    if draws.random() < 0.7 or not level:
        level["tpot_ms"] = draws.choice(
            [{"p95": draws.uniform(1, 12)}, {"max": draws.uniform(1, 14)}, draws.uniform(1, 12)]
        )
    if any(isinstance(limit, float) for limit in level.values()):
        level["attainment"] = draws.choice([0.5, 0.95, 1.0])
    return level


def _space(draws: random.Random) -> dict[str, list[Any]]:
    return {
        "replicas": draws.sample([1, 2, 4], 2),
        "engine.max_num_seqs": draws.sample([1, 2, 4, 16, 64], 3),
        "timing.base_ms": draws.sample([1, 4, 16], 2),
    }


@pytest.mark.parametrize("seed", range(60))
def test_no_run_does_better_than_its_bounds(seed: int) -> None:
    draws = random.Random(seed)
    spec = make_spec({**_world(draws), "slo": _level(draws), "search": {"vary": {"replicas": [draws.choice([1, 2])]}}})
    trace = open_workload(spec)
    space, bounds = space_of(spec, trace), Bounds(spec, trace)
    candidate = space.look(0)
    assert isinstance(candidate, Candidate)
    speed, throughput, missed = bounds.speed(candidate), bounds.throughput(candidate), bounds.missed(candidate)
    runner = Runner(space, trace)
    for load in (0.1, 1.0, 100.0):
        outcome = runner(Run(0, load))
        point = Point(candidate, load, outcome.summary, outcome.stalled)
        assert outcome.summary.get("output_tokens_per_s_per_user.max", 0.0) <= speed
        if missed is not None:
            assert not outcome.summary["slo.met"], missed.proof
        if outcome.summary["completed"] == outcome.summary["requests"]:
            assert point.throughput <= throughput


def test_the_worlds_have_what_is_to_be_proved() -> None:
    """Some levels are proved to be out of reach, some are not."""
    missed = 0
    for seed in range(60):
        draws = random.Random(seed)
        spec = make_spec(
            {**_world(draws), "slo": _level(draws), "search": {"vary": {"replicas": [draws.choice([1, 2])]}}}
        )
        trace = open_workload(spec)
        space, bounds = space_of(spec, trace), Bounds(spec, trace)
        candidate = space.look(0)
        assert isinstance(candidate, Candidate)
        missed += bounds.missed(candidate) is not None
    assert 5 <= missed <= 50


def test_bounds_are_reached_where_nothing_is_in_the_way() -> None:
    """Four rows that decode all the time: what the best pass gives; and one alone: the shortest pass for each token."""
    world = {
        "model": "llama-3.1-8b",
        "gpu": "h100",
        "engine": {"max_model_len": 8192, "max_num_seqs": 4},
        "timing": {"kind": "linear", "base_ms": 5, "prefill_token_ms": 0.1, "decode_row_ms": 0.1},
        "workload": {"kind": "closed", "users": 4, "requests": 16, "input_tokens": 16, "output_tokens": 4000},
        "search": {"vary": {"replicas": [1]}},
    }
    spec = make_spec(world)
    trace = open_workload(spec)
    space, bounds = space_of(spec, trace), Bounds(spec, trace)
    candidate = space.look(0)
    assert isinstance(candidate, Candidate)
    four, one = (Runner(space, trace)(Run(0, users)).summary for users in (4.0, 1.0))
    assert 0.98 <= four["output_tokens_per_s_per_gpu"] / bounds.throughput(candidate) <= 1
    assert 0.99 <= one["output_tokens_per_s_per_user.max"] / bounds.speed(candidate) <= 1


def _random_study(seed: int, objective: str) -> Spec:
    draws = random.Random(seed)
    world = _world(draws)
    world["timing"] = {"kind": "linear", "base_ms": 4, "prefill_token_ms": 0.02, "decode_row_ms": 0.05}
    world["engine"] = {"name": "vllm", "max_model_len": 8192}
    world["workload"]["output_tokens"] = 40
    slo = {} if objective == "frontier" and draws.random() < 0.5 else {"slo": _level(draws)}
    search = {"objective": objective, "vary": _space(draws), "screening": False}
    return make_spec({**world, **slo, "search": search})


PROOFS = {
    "frontier": "another does better in both",
    "goodput_per_gpu": "in the best pass it can have",
    "cheapest": "costs more than",
}
"""By what each objective prunes, beside what misses the level at every load."""


@pytest.mark.parametrize("objective", PROOFS)
def test_nothing_that_is_pruned_belongs_to_the_answer(tmp_path: Path, objective: str) -> None:
    pruned = own = 0
    for seed in range(12):
        study = create(tmp_path / str(seed), _random_study(seed, objective), None)
        answer = plan(study, workers=2)
        out = set(answer.account.pruned)
        pruned += len(out)
        own += sum(PROOFS[objective] in proof for proof in answer.account.pruned.values())
        runner = Runner(study.space, study.trace)
        candidates = {number: answer.space.look(number) for number in answer.candidates}
        loads = sorted({run.load for run in answer.outcomes} | {1.0})
        every = []
        for number, candidate in candidates.items():
            assert isinstance(candidate, Candidate)
            for load in loads:
                known = answer.outcomes.get(Run(number, load)) or runner(Run(number, load))
                every.append(Point(candidate, load, known.summary, known.stalled))
        good = [point for point in every if point.misses is None]
        if objective == "frontier":
            assert not out & {point.candidate.number for point in best(every)}
        elif objective == "goodput_per_gpu":
            value = value_of(objective)
            most = max((value(point) for point in good if point.candidate.number not in out), default=0.0)
            assert all(value(point) <= most for point in good if point.candidate.number in out)
        elif answer.chosen is not None:
            least = price(answer.chosen.candidate)
            now = [point for point in good if point.load == 1.0 and point.candidate.number in out]
            assert all(price(point.candidate) > least for point in now)
        else:
            assert not [point for point in good if point.load == 1.0]
    assert pruned > 20
    assert own > 0


def test_a_level_that_is_proved_to_be_out_of_reach_still_says_how_far_it_is(tmp_path: Path) -> None:
    level = {"slo": {"tpot_ms": {"p95": 1}}}
    search = {"search": {"objective": "cheapest", "vary": {"replicas": [1, 2], "timing.base_ms": [4, 8]}}}
    made = {**_world(random.Random(1)), "timing": TIMINGS[1], "engine": ENGINES[0], **level, **search}
    made["workload"] = {**made["workload"], "output_tokens": 20}
    answer = plan(create(tmp_path / "study", make_spec(made), None), workers=1)
    assert answer.chosen is None
    assert len(answer.account.pruned) == 3
    assert all("misses tpot_ms.p95 1 at every load: at least" in proof for proof in answer.account.pruned.values())
    (nearest,) = answer.points
    assert nearest.summary["slo.tpot_ms.p95.value"] > 4


def test_of_a_line_that_falls_the_lowest_point_ahead_counts() -> None:
    floor = Floor(0, 0, ((Line.through((1, 10, 20), (100, 40, 60)), Line.through((0, 1), (0, 0))),))
    assert [floor.pass_ps(tokens, 1) for tokens in (1, 10, 15, 20)] == [40, 40, 50, 60]


def test_of_what_may_fall_nothing_is_known() -> None:
    nothing: dict[str, Any] = {"host": {}, "terms": [], "kind": "polynomial"}
    assert Floor.of(nothing) is None
    assert Floor.of({"kind": "affine", "host": {"base_ps": -1}, "terms": []}) is None
    assert Floor.of({"kind": "affine", "host": {"base_ps": 1}, "terms": [], "draft": {}}) is None
