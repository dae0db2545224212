"""`replicate`: a run again under other errors and other workloads."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pytest

import servetwin
from servetwin.errors import InputError, SpecError
from servetwin.result.replications import Replications
from servetwin.spec import make_spec
from servetwin.workload import open_workload
from servetwin.workload.again import source

LINEAR: dict[str, Any] = {"kind": "linear", "base_ms": 5, "prefill_token_ms": 0.01, "decode_row_ms": 0.1}
GENERATED: dict[str, Any] = {
    "kind": "poisson",
    "rate_per_s": 8,
    "requests": 200,
    "input_tokens": {"p50": 200, "p99": 900},
    "output_tokens": {"p50": 60, "p99": 200},
    "prefix": {"groups": 3, "tokens": 64, "share": 0.6},
}
SPEC: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "gpu": "h100",
    "workload": GENERATED,
    "slo": {"ttft_ms": 200, "attainment": 0.9},
    "seed": 4,
}
GIVEN: dict[str, Any] = {
    "engine": {"num_gpu_blocks": 2000, "max_model_len": 4096},
    "timing": LINEAR,
    "workload": GENERATED,
    "seed": 4,
}


def known(result: servetwin.Result) -> Replications:
    assert result.replications is not None
    return result.replications


def test_the_value_stays_that_of_the_run_without_draws() -> None:
    alone, again = servetwin.simulate(SPEC), servetwin.replicate(SPEC)
    assert again.summary == alone.summary
    assert again.provenance == alone.provenance
    assert again.requests.equals(alone.requests)


def test_threads_make_no_difference_and_more_replications_keep_the_first() -> None:
    one = known(servetwin.replicate(SPEC, workers=1))
    many = known(servetwin.replicate(SPEC, workers=4))
    assert one.as_json() == many.as_json()
    more = known(servetwin.replicate(SPEC, replications=80))
    assert {name: found[:20] for name, found in more.values.items()} == one.values
    for name, found in one.intervals.items():
        assert more.intervals[name].std / math.sqrt(80) <= found.std / math.sqrt(20), name


def test_each_source_moves_what_it_can() -> None:
    both, without = known(servetwin.replicate(SPEC)), known(servetwin.replicate(GIVEN))
    shares = both.intervals["tpot_ms.mean"].shares
    assert shares is not None
    assert shares.timing > 0.5
    assert without.errors == {}
    assert without.timing == {"aggregated": {"exact": "given"}}
    alone = without.intervals["tpot_ms.mean"].shares
    assert alone is not None
    assert alone.workload == 1
    assert without.intervals["tpot_ms.mean"].std > 0


def test_errors_that_are_not_known_are_said_to_be() -> None:
    found = known(servetwin.replicate(GIVEN | {"timing": "polynomial"}))
    assert found.timing == {"aggregated": {"exact": "error not known"}}


def test_common_random_numbers_make_differences_less_uncertain() -> None:
    other = SPEC | {"router": "least_requests", "replicas": 2}
    one, paired = (known(servetwin.replicate(spec)) for spec in (SPEC, other))
    apart = known(servetwin.replicate(other | {"seed": 99}))
    assert one.seeds == paired.seeds != apart.seeds
    assert one.errors == paired.errors != apart.errors

    def deviation(which: Replications, metric: str) -> float:
        pairs = zip(one.values[metric], which.values[metric], strict=True)
        return statistics.stdev(float(b or 0) - float(a or 0) for a, b in pairs)

    for metric in ("tpot_ms.mean", "e2e_ms.mean", "e2e_ms.p95", "output_tokens_per_s"):
        assert deviation(paired, metric) < 0.8 * deviation(apart, metric), metric


def test_a_trace_is_drawn_in_blocks_and_keeps_what_it_shares() -> None:
    trace = open_workload(make_spec(GIVEN))
    spec = make_spec(GIVEN | {"workload": {"trace": "unread"}})
    drawn = source(spec, trace)
    assert drawn.method == "blocks"
    assert drawn.block_s is not None
    others = [drawn.draw(seed) for seed in range(20)]
    assert len({other.sha256 for other in others}) == 20
    hits = [other.profile()["ideal_prefix_hit"] for other in others]
    assert statistics.mean(hits) == pytest.approx(trace.profile()["ideal_prefix_hit"], rel=0.1)
    assert statistics.mean(map(len, others)) == pytest.approx(len(trace), rel=0.1)
    found = known(servetwin.replicate(spec, trace))
    assert found.workload == drawn.described()


def test_a_closed_loop_draws_families_one_by_one() -> None:
    trace = open_workload(make_spec(GIVEN))
    spec = make_spec(GIVEN | {"workload": {"trace": "unread", "users": 8}})
    found = known(servetwin.replicate(spec, trace))
    assert found.workload == {"method": "families"}
    assert found.intervals["e2e_ms.mean"].std > 0


def test_the_requests_of_all_runs_are_kept_if_asked(tmp_path: Path) -> None:
    result = servetwin.replicate(SPEC, requests=True)
    result.write(tmp_path / "all")
    again = servetwin.load(tmp_path / "all")
    assert again.requests.equals(result.requests)
    table = known(again).requests
    assert table.equals(known(result).requests)
    counts = {one["values"]: one["counts"] for one in table["replication"].value_counts().to_pylist()}
    assert sorted(counts) == list(range(21))
    assert counts[0] == 200
    assert known(again).intervals == known(result).intervals
    servetwin.check_invariants(again)
    few = servetwin.replicate(SPEC)
    few.write(tmp_path / "few")
    assert servetwin.load(tmp_path / "few").requests.equals(result.requests)
    assert set(known(few).requests["replication"].to_pylist()) == {0}


@pytest.mark.parametrize("damage", ["seeds", "values", "errors"])
def test_damaged_replications_are_refused(tmp_path: Path, damage: str) -> None:
    servetwin.replicate(SPEC).write(tmp_path)
    file = tmp_path / "result.json"
    file.write_text(file.read_text().replace(f'"{damage}": ', f'"{damage}_": '))
    with pytest.raises(InputError, match="not a result"):
        servetwin.load(tmp_path)


@pytest.mark.parametrize(
    ("count", "confidence", "message"),
    [
        (1, 0.9, "replications: out of range; found 1"),
        (0, 0.9, "out of range"),
        (20_000, 0.9, "out of range"),
        (5, 0.9, "the extremes of 5 hold the next in 66.7%; found 5; expected at least 19, or a confidence of at most"),
        (20, 1.0, "confidence: not between 0 and 1"),
        (20, 0.0, "not between 0 and 1"),
    ],
)
def test_senseless_counts(count: int, confidence: float, message: str) -> None:
    with pytest.raises(InputError) as caught:
        servetwin.replicate(SPEC, replications=count, confidence=confidence)
    assert message in str(caught.value)


class Turns:
    """Keeps where it is."""

    def __init__(self) -> None:
        self.asked = 0

    def route(self, request: servetwin.RouterRequest, replicas: list[servetwin.ReplicaView]) -> int:
        self.asked += 1
        return self.asked % len(replicas)


def test_routers_begin_anew_in_each_run() -> None:
    spec = GIVEN | {"replicas": 2}
    result = servetwin.replicate(spec, router=Turns, replications=20)
    assert result.summary == servetwin.simulate(spec, router=Turns()).summary
    with pytest.raises(InputError, match="one object: what it keeps"):
        servetwin.replicate(spec, router=Turns())  # type: ignore[arg-type]


def test_a_router_named_in_the_spec_must_be_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared_router.py").write_text(
        "class One:\n    def route(self, request, replicas):\n        return 0\n\n\nROUTER = One()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = GIVEN | {"replicas": 2}
    named = {"kind": "python", "object": "shared_router:One"}
    assert known(servetwin.replicate(spec | {"router": named})).count == 20
    with pytest.raises(SpecError, match="one object") as caught:
        servetwin.replicate(spec | {"router": named | {"object": "shared_router:ROUTER"}})
    assert caught.value.field == "router.object"


def test_an_error_in_a_replication_ends_all() -> None:
    class Once:
        made = 0

        def __init__(self) -> None:
            Once.made += 1
            self.good = Once.made < 3

        def route(self, request: servetwin.RouterRequest, replicas: list[servetwin.ReplicaView]) -> int:
            if not self.good:
                raise RuntimeError("third")
            return 0

    with pytest.raises(RuntimeError, match="third"):
        servetwin.replicate(GIVEN, router=Once)
