"""Studies: the same answer however much is screened and pruned, and however they are carried out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from servetwin import simulate
from servetwin.errors import SpecError
from servetwin.plan.finished import Finished
from servetwin.plan.folder import Folder, create, resume
from servetwin.plan.frontier import WORTH, best
from servetwin.plan.make import Answer, plan
from servetwin.plan.runs import Outcome, Run, Runner, Threads
from servetwin.plan.space import Candidate, Dropped, Space, described, reasons, space_of
from servetwin.plan.study import Point
from servetwin.report.plan import verdict
from servetwin.spec import make_spec, vary
from servetwin.workload import open_workload, write_trace

from .worlds import BASE, VARY, WIDE, folder, spec

OBJECTIVES = ("cheapest", "goodput_per_gpu", "goodput_per_dollar", "frontier")


def _found(answer: Answer) -> list[tuple[Run, dict[str, float]]]:
    return [(point.run, dict(point.summary)) for point in answer.points]


def _account(answer: Answer) -> tuple[int, ...]:
    account = answer.account
    return (len(account.dropped), len(account.pruned), len(account.screened), account.whole_runs, account.part_runs)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_screening_changes_the_work_and_not_the_choice(tmp_path: Path, objective: str) -> None:
    screened = plan(folder(tmp_path / "a", objective), workers=2)
    everything = plan(folder(tmp_path / "b", objective, screening=False), workers=2)
    assert screened.chosen is not None
    assert everything.chosen is not None
    assert screened.chosen.run == everything.chosen.run
    assert screened.account.whole_runs < everything.account.whole_runs
    assert not everything.account.part_runs


def _enumerated(study: Folder, loads: Sequence[float]) -> list[Point]:
    """Every deployment under every one of these loads, on the whole workload."""
    space = study.space
    candidates = {one.number: one for one in space.all() if isinstance(one, Candidate)}
    threads = Threads(Runner(space, study.trace), 2)
    runs = [Run(number, load) for number in candidates for load in loads]
    return [
        Point(candidates[run.candidate], run.load, outcome.summary, outcome.stalled)
        for run, outcome in threads.results(runs)
    ]


def test_the_frontier_takes_a_tenth_of_the_runs_of_an_enumeration(tmp_path: Path) -> None:
    study = folder(tmp_path, "frontier", WIDE)
    answer = plan(study, workers=2)
    loads = sorted({run.load for run, _ in study.ledger.all()})
    every = _enumerated(study, loads)
    wanted = best(every)
    assert len(wanted) > 3
    for point in wanted:
        assert any(
            own.speed * WORTH >= point.speed and own.throughput * WORTH >= point.throughput for own in answer.points
        ), f"{point.run} is beaten by nothing that was found"
    assert answer.account.whole_runs * 10 <= len(every)


def test_the_cheapest_is_proved_by_prices(tmp_path: Path) -> None:
    answer = plan(folder(tmp_path, "cheapest", screening=False), workers=2)
    assert answer.chosen is not None
    assert answer.account.pruned
    space = folder(tmp_path / "again", "cheapest").space
    prices = {one.number: one.cost_per_hour or 0 for one in space.all() if isinstance(one, Candidate)}
    chosen = prices[answer.chosen.candidate.number]
    assert all(prices[number] > chosen for number in answer.account.pruned)
    meeting = [point for point in answer.points if point.misses is None]
    assert {prices[point.candidate.number] for point in meeting} == {chosen}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_study_is_the_same_with_any_number_of_threads(tmp_path: Path, objective: str) -> None:
    one = plan(folder(tmp_path / "one", objective), workers=1)
    three = plan(folder(tmp_path / "three", objective), workers=3)
    assert _found(one) == _found(three)
    assert _account(one) == _account(three)


class Counting:
    """Carries runs out, and counts them."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.runs: list[Run] = []

    def results(self, runs: Sequence[Run]) -> Iterator[tuple[Run, Outcome]]:
        for run in runs:
            self.runs.append(run)
            yield run, self.runner(run)

    def close(self) -> None:
        pass


def test_nothing_is_run_twice(tmp_path: Path) -> None:
    study = folder(tmp_path, "frontier")
    executor = Counting(Runner(study.space, study.trace))
    plan(study, workers=1, executor=executor)
    assert len(executor.runs) == len(set(executor.runs)) == len(study.ledger.all())


def test_a_level_that_nothing_meets_says_how_far_the_best_is(tmp_path: Path) -> None:
    changed = make_spec({**BASE, "slo": {"ttft_ms": {"p95": 2}}, "search": {"objective": "cheapest", "max_gpus": 2}})
    answer = plan(create(tmp_path / "study", changed, None), workers=2)
    assert answer.chosen is None
    assert answer.points[0].misses is not None
    assert answer.remedy is not None
    assert answer.remedy.times_over > 1
    assert (answer.remedy.load, answer.remedy.replicas) == (None, None)  # one pass takes 5 ms
    assert "Nothing meets the service level. Nearest: " in verdict(answer)


def test_what_would_meet_the_level_is_simulated(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest", {"replicas": [1], "engine.max_num_seqs": [2, 4]})
    answer = plan(study, workers=2)
    assert answer.chosen is None
    needed, near = answer.remedy, answer.points[0].candidate
    assert needed is not None
    assert needed.load is not None
    assert needed.replicas is not None
    assert needed.load < 1
    for replicas, met in ((needed.replicas, True), (needed.replicas - 1, False)):
        result = simulate(vary(near.spec, {"replicas": replicas}), study.trace)
        assert bool(result.summary["slo.met"]) is met
    assert needed.gpus == needed.replicas
    assert f"at {needed.load:.2g} × the load or with {needed.replicas} replicas" in verdict(answer)
    study.ledger.close()
    again = plan(resume(study.path), workers=2)
    assert again.remedy == needed


@pytest.mark.parametrize("objective", ["goodput_per_gpu", "frontier"])
@pytest.mark.parametrize("screening", [True, False])
def test_a_level_met_at_no_load_still_has_a_nearest(tmp_path: Path, objective: str, screening: bool) -> None:
    search = {"objective": objective, "vary": {"replicas": [1, 2]}, "screening": screening}
    slo = {"ttft_ms": {"p95": 50}}  # prompts of a thousand tokens take longer, and their lengths prove nothing of it
    answer = plan(create(tmp_path / "study", make_spec({**BASE, "slo": slo, "search": search}), None), workers=2)
    assert answer.chosen is None
    assert len(answer.points) == 1
    assert "misses ttft_ms.p95" in verdict(answer)


def _space(change: dict[str, object]) -> Space:
    made = make_spec({**BASE, **change})
    return space_of(made, open_workload(made))


@pytest.mark.parametrize(
    ("search", "change", "message"),
    [
        ({"objective": "cheapest"}, {}, "search.max_gpus: missing"),
        ({"vary": {"replicas": [1]}, "objective": "goodput_per_gpu"}, {"slo": None}, "slo: missing"),
        ({"vary": {"engine.max_num_seq": [1, 2]}}, {}, "search.vary.engine.max_num_seq: unknown key"),
        ({"vary": {"replicas": [0, -1]}}, {}, "search.vary.replicas: "),
        ({"max_gpus": 8}, {"gpu": None}, "gpu: missing"),
        (None, {}, "search: missing"),
    ],
)
def test_bad_searches_are_explained(search: dict[str, object] | None, change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as raised:
        _space({**change, "search": search})
    assert message in str(raised.value)


def test_a_space_of_pools_has_the_replicas_of_each() -> None:
    pools = {"prefill": {}, "decode": {"parallel": {"tensor": 2}}}
    handover = {"kv_bytes_per_token": 1000}
    space = _space({"pools": pools, "handover": handover, "search": {"max_gpus": 5}})
    assert space.axes["pools.prefill.replicas"] == space.axes["pools.decode.replicas"] == [1, 2, 3, 4, 5]
    assert "replicas" not in space.axes
    assert described({"pools.prefill.replicas": 2, "pools.decode.replicas": 1}) == (
        "prefill replicas 2, decode replicas 1"
    )


@pytest.mark.parametrize("screening", [True, False])
def test_a_deployment_that_turns_requests_away_meets_no_level(tmp_path: Path, screening: bool) -> None:
    """Prompts longer than the first length are rejected at once, and those that are served are served fast."""
    lengths = {"replicas": [4], "engine.max_model_len": [512, 8192]}
    answer = plan(folder(tmp_path, "cheapest", lengths, screening=screening), workers=2)
    assert answer.chosen is not None
    assert answer.chosen.candidate.settings["engine.max_model_len"] == 8192
    misses = {point.candidate.number: point.misses for point in answer.points}
    assert 0 in answer.account.screened or "requests not served" in str(misses[0])


def test_what_the_workload_rules_out_is_dropped() -> None:
    """No request of it belongs to a session, so a router that keeps sessions together is no choice."""
    space = _space({"search": {"vary": {"router": ["session_affinity", "round_robin"]}}})
    ruled_out, other = space.all()
    assert isinstance(ruled_out, Dropped)
    assert ruled_out.reason.startswith("session_affinity keeps sessions together")
    assert isinstance(other, Candidate)


def test_reasons_are_counted_without_their_figures() -> None:
    space = _space({"search": {"vary": {"replicas": [1, 5, 6]}}, "cluster": {"nodes": 1, "gpus_per_node": 4}})
    ((reason, count, example),) = reasons([one for one in space.all() if isinstance(one, Dropped)])
    assert (reason, count) == ("more GPUs than the cluster has", 2)
    assert example.settings == {"replicas": 5}


def test_an_empty_space_says_why(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="none of 4 combinations can be: 4 × more than 3 GPUs"):
        folder(tmp_path, "frontier", {"replicas": [4, 8], "parallel.tensor": [1, 2]}, max_gpus=3)
    assert not list(tmp_path.iterdir())


def test_a_model_larger_than_the_budget_says_so(tmp_path: Path) -> None:
    big = make_spec({**BASE, "model": "llama-3.1-70b", "search": {"max_gpus": 1}})
    with pytest.raises(SpecError, match=r"model does not fit, such as tensor 1.*weights"):
        create(tmp_path / "study", big, None)
    assert not list(tmp_path.iterdir())


def test_a_sampler_finds_the_same_with_fewer_looks(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    every = plan(folder(tmp_path / "every", "goodput_per_gpu", WIDE), workers=2)
    assert every.chosen is not None
    for method in ("nsga2", "tpe"):
        few = folder(tmp_path / method, "goodput_per_gpu", WIDE, method=method, trials=64)
        answer = plan(few, workers=2)
        again = plan(folder(tmp_path / f"{method} again", "goodput_per_gpu", WIDE, method=method, trials=64), workers=3)
        assert answer.account.unseen > 0
        assert answer.account.decided == sum(trial.fate == "decided" for trial in Finished(few, answer).trials())
        assert answer.chosen is not None
        assert answer.chosen.throughput * 1.05 >= every.chosen.throughput
        assert _found(answer) == _found(again)
        assert _account(answer) == _account(again)


def test_a_trace_in_place_of_a_closed_loop_is_open_for_every_deployment(tmp_path: Path) -> None:
    closed = {name: value for name, value in BASE["workload"].items() if name != "rate_per_s"}
    trace = tmp_path / "trace.jsonl"
    write_trace(open_workload(make_spec(BASE)), trace)
    given = make_spec({**BASE, "workload": {**closed, "kind": "closed", "users": 4}, "search": {"vary": VARY}})
    space = create(tmp_path / "study", given, str(trace)).space
    candidate = space.look(0)
    assert isinstance(candidate, Candidate)
    assert (space.base.users, candidate.spec.users) == (None, None)


ROUTERS = ["round_robin", "random", "least_requests", "power_of_two", "prefix_hash", "cache_aware", "llm_d", "kv_aware"]


def test_one_replica_leaves_a_router_nothing_to_choose() -> None:
    made = spec("frontier", {"replicas": [1, 2], "router": ROUTERS})
    trace = open_workload(made)
    looked = list(space_of(made, trace).all())
    assert [isinstance(one, Candidate) for one in looked] == [True, *[False] * 7, *[True] * 8]
    summaries = [simulate(vary(made, {"replicas": 1, "router": router}), trace).summary for router in ROUTERS]
    assert all(summary == summaries[0] for summary in summaries)
