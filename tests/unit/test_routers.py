"""Routers as a user sets them: all of them run, and each does what its page says in small cases worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import servetwin
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.spec.fields import kinds_at

KINDS = [kind for kind in kinds_at("router") if kind != "python"]
BLOCK = 16
ENGINE = {"max_model_len": 4096, "num_gpu_blocks": 400}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Sessions of three turns each, and prompts that begin alike."""
    file = tmp_path / "trace.jsonl"
    rows: list[dict[str, Any]] = []
    for session in range(8):
        for turn in range(3):
            ids = [session % 3, *range(100 * session + 10, 100 * session + 10 + turn)]
            row = {"input_length": 32 * len(ids), "output_length": 4, "hash_ids": ids, "session_id": f"s{session}"}
            row["request_id"] = f"{session}.{turn}"
            rows.append(row | ({"timestamp": 40 * session} if turn == 0 else {"delay": 500}))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def spec(router: object, **options: object) -> dict[str, Any]:
    return {"replicas": 3, "engine": ENGINE, "timing": "polynomial", "router": router, **options}


@pytest.mark.parametrize("kind", KINDS)
def test_every_router_runs_and_says_why(trace: Path, kind: str) -> None:
    chosen = spec(kind, workload={"trace": str(trace), "block_tokens": 32})
    result = servetwin.simulate(chosen)
    assert result.completed == 24
    assert None not in result.requests["route_reason"].to_pylist()
    assert result.requests.equals(servetwin.simulate(chosen, leap=False).requests)
    servetwin.check_invariants(result)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "random"])
@pytest.mark.parametrize("deal", ["round_robin", "hash"])
def test_every_router_runs_in_several_instances(trace: Path, kind: str, deal: str) -> None:
    router = {"kind": kind, "instances": 3, "deal": deal}
    result = servetwin.simulate(spec(router, workload={"trace": str(trace), "block_tokens": 32}))
    assert result.completed == 24


def replicas(router: object, rows: Sequence[tuple[float, list[int]]], tmp_path: Path, **options: object) -> list[int]:
    """Where requests go that arrive at a time, in seconds, with a prompt of these blocks and one token of output."""
    file = tmp_path / "rows.jsonl"
    lines = [
        {"timestamp": 1000 * time, "input_length": BLOCK * len(ids), "output_length": 1, "hash_ids": ids}
        for time, ids in rows
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    workload = {"trace": str(file), "block_tokens": BLOCK}
    return servetwin.simulate(spec(router, workload=workload, **options)).requests["replica"].to_pylist()


def test_instances_do_not_know_of_each_other(tmp_path: Path) -> None:
    rows = [(0, [index]) for index in range(6)]
    assert replicas("least_requests", rows, tmp_path) == [0, 1, 2, 0, 1, 2]
    assert replicas({"kind": "least_requests", "instances": 2}, rows, tmp_path) == [0, 0, 1, 1, 2, 2]


def test_cache_aware_goes_where_the_prompt_went_until_it_is_evicted(tmp_path: Path) -> None:
    # At 0, three prompts spread by load. The second comes again much later, when no replica has anything to do.
    rows = [(0, [1, 2]), (0, [3, 4]), (0, [5, 6]), (200, [3, 4])]
    assert replicas("cache_aware", rows, tmp_path) == [0, 1, 2, 1]
    small = {"kind": "cache_aware", "max_tree_size": BLOCK}
    assert replicas(small, rows, tmp_path) == [0, 1, 2, 0], "evicted at 120 s, whole"
    assert replicas(small, [*rows[:3], (100, [3, 4])], tmp_path) == [0, 1, 2, 1], "not yet"
    assert replicas({"kind": "cache_aware", "eviction_interval_secs": 0}, rows, tmp_path) == [0, 1, 2, 1]
    assert replicas({"kind": "cache_aware", "cache_threshold": 1.0}, rows, tmp_path) == [0, 1, 2, 0], "never more"


def test_cache_aware_balances_where_loads_differ_too_much(tmp_path: Path) -> None:
    rows = [(0, [1, 2])] * 4
    assert replicas("cache_aware", rows, tmp_path) == [0, 0, 0, 0]
    tight = {"kind": "cache_aware", "balance_abs_threshold": 1, "balance_rel_threshold": 1}
    assert replicas(tight, rows, tmp_path) == [0, 0, 1, 2]


def test_llm_d_remembers_as_many_blocks_as_it_is_told(tmp_path: Path) -> None:
    # All scores are alike but for prefixes: ties are taken in turn.
    rows = [(0, [1]), (10, [2]), (20, [3]), (30, [1]), (40, [2])]
    assert replicas("llm_d", rows, tmp_path) == [0, 1, 2, 0, 1]
    one = {"kind": "llm_d", "lru_capacity_per_server": 1}
    # The fourth, a prompt of two blocks of which replica 0 had the first, leaves room for the second only.
    rows = [(0, [1]), (10, [2]), (20, [3]), (30, [1, 4]), (40, [1])]
    assert replicas("llm_d", rows, tmp_path)[3:] == [0, 0]
    assert replicas(one, rows, tmp_path)[3:] == [0, 0]
    assert replicas({**one, "max_prefix_tokens_to_match": BLOCK}, rows, tmp_path)[3:] == [0, 0]


def test_kv_aware_weighs_the_cached_prefix_against_the_load(tmp_path: Path) -> None:
    # The prompt of 40 blocks comes again while its replica is idle, then while it computes another long prompt.
    long, other = list(range(40)), list(range(100, 300))
    rows = [(0, long), (10, long), (20, [*long, *other]), (20, long)]
    first, again, longer, last = replicas("kv_aware", rows, tmp_path)
    assert first == again == longer, "a cached prefix, and no load"
    assert last != first, "40 blocks are saved, but 200 are to be computed first"
    no_credit = {"kind": "kv_aware", "overlap_score_credit": 0.0, "prefill_load_scale": 0.0}
    assert len({*replicas(no_credit, [(0, long), (0, other), (0, [400])], tmp_path)}) == 3, "blocks in flight decide"


def test_kv_aware_predicts_caches_for_a_time_without_events(tmp_path: Path) -> None:
    rows = [(0, [1, 2, 3]), (100, [1, 2, 3]), (400, [1, 2, 3])]
    predicted = {"kind": "kv_aware", "use_kv_events": False}
    file = tmp_path / "rows.jsonl"
    replicas(predicted, rows, tmp_path)
    workload = {"trace": str(file), "block_tokens": BLOCK}
    told = servetwin.simulate(spec(predicted, workload=workload)).requests["route_overlap_tokens"].to_pylist()
    assert told == [0, 48, 0]
    told = servetwin.simulate(spec("kv_aware", workload=workload)).requests["route_overlap_tokens"].to_pylist()
    assert told == [0, 48, 48]


def test_a_session_stays_until_it_was_idle_for_too_long(trace: Path) -> None:
    def stays(**options: object) -> bool:
        router = {"kind": "session_affinity", "assignment_mode": "min_load", **options}
        table = servetwin.simulate(spec(router, workload={"trace": str(trace), "block_tokens": 32})).requests
        where = dict(zip(table["request_id"].to_pylist(), table["replica"].to_pylist(), strict=True))
        return all(len({where[f"{session}.{turn}"] for turn in range(3)}) == 1 for session in range(8))

    assert stays()
    assert not stays(max_idle_secs=0.001, eviction_interval_secs=0.001)


@pytest.mark.parametrize(
    ("router", "field", "what"),
    [
        ({"kind": "least_requests", "deal": "hash"}, "deal", "a single instance"),
        ({"kind": "power_of_two", "interval_ms": 5}, "interval_ms", "load: tokens"),
        (
            {"kind": "power_of_two", "load": "tokens", "interval_ms": 0, "delay_ms": 5},
            "delay_ms",
            "without an interval",
        ),
        ({"kind": "llm_d", "interval_ms": 0, "delay_ms": 5}, "delay_ms", "without an interval"),
        ({"kind": "consistent_hashing", "prefix_token_count": 9}, "prefix_token_count", "the key is the session"),
        ({"kind": "consistent_hashing", "max_load_skew": 0.9}, "max_load_skew", "greater than or equal to 1"),
        (
            {"kind": "cache_aware", "eviction_interval_secs": 0, "max_tree_size": 1},
            "max_tree_size",
            "nothing is evicted",
        ),
        (
            {"kind": "llm_d", "prefix_cache_scorer_weight": 0, "lru_capacity_per_server": 1},
            "lru_capacity_per_server",
            "never read",
        ),
        (
            {"kind": "llm_d", "queue_scorer_weight": 0, "kv_cache_utilization_scorer_weight": 0, "interval_ms": 1},
            "interval_ms",
            "no score of telemetry",
        ),
        ({"kind": "kv_aware", "overlap_score_credit": 1.5}, "overlap_score_credit", "less than or equal to 1"),
        ({"kind": "kv_aware", "ttl_secs": 5}, "ttl_secs", "use_kv_events"),
        ({"kind": "kv_aware", "track_prefill_tokens": False, "queue_threshold": 2}, "queue_threshold", "never read"),
        ({"kind": "kv_aware", "track_active_blocks": False, "assume_kv_reuse": False}, "assume_kv_reuse", "never read"),
        ({"kind": "kv_aware", "queue_threshold": None, "queue_policy": "lcfs"}, "queue_policy", "nothing is kept back"),
        ({"kind": "random", "instances": 2}, "instances", "never reads this option"),
        ({"kind": "python", "object": "a:B", "instances": 2}, "instances", "never reads this option"),
    ],
)
def test_an_option_without_effect_is_refused(router: dict[str, Any], field: str, what: str) -> None:
    with pytest.raises(SpecError, match=what) as caught:
        make_spec(spec(router))
    assert caught.value.field == f"router.{field}"


@pytest.mark.parametrize("kind", ["kv_aware", "cache_aware", "prefix_hash", "llm_d"])
def test_a_router_that_looks_for_prefixes_needs_replicas_that_keep_them(kind: str) -> None:
    with pytest.raises(SpecError, match="these cache none") as caught:
        make_spec(spec(kind) | {"engine": {**ENGINE, "enable_prefix_caching": False}})
    assert caught.value.field == "router"


def test_scores_and_costs_without_any_weight_are_refused() -> None:
    none = dict.fromkeys(
        ("queue_scorer_weight", "kv_cache_utilization_scorer_weight", "prefix_cache_scorer_weight"), 0.0
    )
    with pytest.raises(SpecError, match="no score has any weight"):
        make_spec(spec({"kind": "llm_d", **none}))
    with pytest.raises(SpecError, match="every replica would cost 0"):
        make_spec(spec({"kind": "kv_aware", "track_prefill_tokens": False, "track_active_blocks": False}))


@pytest.mark.parametrize("router", ["session_affinity", "consistent_hashing"])
def test_a_router_that_keeps_sessions_together_needs_some(tmp_path: Path, router: str) -> None:
    (tmp_path / "bare.jsonl").write_text('{"timestamp": 0, "input_length": 50, "output_length": 5}\n' * 3)
    with pytest.raises(SpecError, match="workload") as caught:
        servetwin.simulate(spec(router), tmp_path / "bare.jsonl")
    assert caught.value.field == "router"
