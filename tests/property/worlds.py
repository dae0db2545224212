"""Random deployments and workloads, small enough to starve, preempt and stall."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from servetwin import _core

from ..small import summary

MS = 10**9
"""Picoseconds."""

COLUMNS = (
    "arrival_ps",
    "routed_ps",
    "scheduled_ps",
    "first_token_ps",
    "last_token_ps",
    "end_ps",
    "replica",
    "output_tokens",
    "cached_tokens",
    "host_tokens",
    "disk_tokens",
    "shared_tokens",
    "preemptions",
    "preempted_ps",
    "status",
    "reason",
    "route_reason",
    "route_overlap_tokens",
)
SERIES = ("time_ps", "replica", "running", "waiting", "used_blocks", "holdup")


POOL = ("replicas", "engine", "step_time", "data", "pipeline", "router", "instances")


def described(run: dict[str, Any]) -> str:
    """A run of one pool, whose fields stand among its own, as the core takes it."""
    pool = {name: run[name] for name in POOL if name in run}
    rest = {name: value for name, value in run.items() if name not in POOL}
    return json.dumps({"pools": [{"role": "aggregated", **pool}], **rest})


@dataclass(frozen=True)
class World:
    trace: dict[str, Any]
    run: dict[str, Any]

    def simulate(self, *, router: object | None = None, **changes: Any) -> _core.Run:
        return _core.simulate(_core.Trace.from_columns(**self.trace), described(self.run | changes), router=router)


def records(run: _core.Run) -> dict[str, Any]:
    """All that a run leaves behind, but how it was computed."""
    return {
        "status": run.status,
        "passes": run.passes,
        "gaps": run.itl(),
        "summary": summary(run),
        **{name: run.column(name) for name in COLUMNS},
        **{f"series.{name}": run.series(name) for name in SERIES},
    }


def outcome(world: World, *, router: object | None = None, **changes: Any) -> dict[str, Any]:
    """The records of a run, or the error that the engine itself would raise."""
    try:
        run = world.simulate(router=router, **changes)
        return records(run) | {"leaps": run.leaps}
    except _core.InputError as error:
        if "fails here" not in str(error):
            raise
        return {"failure": str(error)}


@st.composite
def traces(draw: st.DrawFn, *, sessions: bool = True) -> dict[str, Any]:
    """Bursts and lulls, prompts that share prefixes, outputs that may stop before their limit."""
    count = draw(st.integers(1, 40))
    block_tokens = draw(st.sampled_from([4, 16, 32]))
    stops_early = draw(st.booleans())
    arrival_ps, columns = 0, {name: [] for name in ("arrival_ps", "input_tokens", "output_tokens", "max_output_tokens")}
    priority, after, block_ids, offsets = [], [], [], [0]
    joins = sessions and draw(st.booleans())
    wait_for, wait_offsets = [], [0]
    families = draw(st.integers(1, 4))
    fresh = families * 64
    for row in range(count):
        arrival_ps += draw(st.sampled_from([0, 0, 1, 3 * MS, 17 * MS, 250 * MS]))
        prompt = draw(st.integers(1, 120))
        output = draw(st.integers(0, 90))
        follows = sessions and row > 0 and draw(st.integers(0, 5)) == 0
        previous = draw(st.integers(0, row - 1)) if follows else -1
        if previous in after:
            previous = -1
        waits = draw(st.sets(st.integers(0, row - 1), max_size=3)) if joins and row and draw(st.booleans()) else set()
        wait_for += sorted(waits - {previous})
        wait_offsets.append(len(wait_for))
        waiting = previous >= 0 or len(wait_for) > wait_offsets[-2]
        columns["arrival_ps"].append(draw(st.integers(0, 50 * MS)) if waiting else arrival_ps)
        columns["input_tokens"].append(prompt)
        columns["output_tokens"].append(output)
        columns["max_output_tokens"].append(output + (draw(st.integers(0, 20)) if stops_early else 0))
        priority.append(draw(st.integers(0, 2)))
        after.append(previous)
        blocks = -(-prompt // block_tokens)
        shared = draw(st.integers(0, blocks))
        family = draw(st.integers(0, families - 1))
        block_ids += [family * 64 + index for index in range(shared)]
        block_ids += [fresh + index for index in range(blocks - shared)]
        fresh += blocks - shared
        offsets.append(len(block_ids))
    dense = {block: index for index, block in enumerate(dict.fromkeys(block_ids))}
    return {
        **columns,
        "priority": priority,
        "after": after,
        "wait_for": wait_for,
        "wait_offsets": wait_offsets if wait_for else [],
        "block_tokens": block_tokens,
        "block_ids": [dense[block] for block in block_ids],
        "block_offsets": offsets,
    }


DRAFTS = ("num_speculative_tokens", "speculative_num_draft_tokens", "max_draft_len")


@st.composite
def step_times(draw: st.DrawFn, *, drafts: bool = True) -> dict[str, Any]:
    kind = draw(st.sampled_from(["polynomial", "affine", "tabulated"]))
    if kind == "tabulated":
        longest = None if drafts else draw(st.none() | _lines())
        return draw(tabulated()) | {"longest": longest}
    if kind == "polynomial":
        segments = draw(st.integers(1, 6))
        return {
            "kind": "polynomial",
            "prefill_fps": [draw(st.integers(0, 10**6)) << 20, draw(st.integers(0, MS // 10)) << 20, MS << 20],
            "segment_tokens": draw(st.integers(1, 200)),
            "start_ps": [5 * MS + draw(st.integers(0, 3 * MS)) for _ in range(segments)],
            "slope_ps": [draw(st.integers(0, 10**6)) for _ in range(segments)],
        }
    terms = draw(st.lists(_AFFINE, max_size=3))
    return {"kind": "affine", "host": draw(_AFFINE), "terms": terms, "draft": draw(_AFFINE)}


def fronts() -> st.SearchStrategy[dict[str, int]]:
    """A front end that takes no time, or long enough for requests to overtake each other."""
    slow = st.fixed_dictionaries(
        {
            "request_ps": st.sampled_from([0, MS]),
            "prompt_token_ps": st.sampled_from([0, MS // 5]),
            "stream_ps": st.sampled_from([0, 3 * MS]),
        }
    )
    return st.just({"request_ps": 0, "prompt_token_ps": 0, "stream_ps": 0}) | slow


@st.composite
def tabulated(draw: st.DrawFn) -> dict[str, Any]:
    tokens, rows, contexts = draw(_knots(64)), draw(_knots(12)), draw(_knots(150))
    reach = [draw(_knots(200)) for _ in tokens]
    across = [draw(_knots(150)) for _ in tokens]
    counts = [len(knots) * len(rows) * len(others) for knots, others in zip(reach, across, strict=True)]
    mixed = {
        "tokens": tokens,
        "reach": reach,
        "rows": rows,
        "contexts": across,
        "ps": [draw(_times(count)) for count in counts],
    }
    graphs = {
        "decode_sizes": draw(st.just([]) | _knots(12)),
        "piecewise_sizes": draw(st.just([]) | _knots(80)),
        "padded": draw(st.booleans()),
        "piecewise_ps": draw(st.integers(0, 9 * MS)),
        "eager_ps": draw(st.integers(0, 12 * MS)),
    }
    return {
        "kind": "tabulated",
        "host": draw(_AFFINE),
        "graphs": graphs,
        "tokens": draw(_lines()),
        "sequences": draw(_lines()),
        "decode": {"rows": rows, "contexts": contexts, "ps": [draw(_times(len(contexts))) for _ in rows]},
        "prompt": {"tokens": tokens, "reach": reach, "ps": [draw(_times(len(knots))) for knots in reach]},
        "mixed": draw(st.sampled_from([None, mixed])),
        "draft": draw(_AFFINE),
    }


def _knots(most: int) -> st.SearchStrategy[list[int]]:
    return st.sets(st.integers(2, most), max_size=3).map(lambda knots: sorted({1, *knots}))


def _times(count: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 6 * MS), min_size=count, max_size=count)


@st.composite
def _lines(draw: st.DrawFn) -> dict[str, Any]:
    at = draw(_knots(60))
    slopes = draw(st.lists(st.integers(0, 2**46), min_size=len(at), max_size=len(at)))
    return {"at": at, "start_ps": draw(_times(len(at))), "slope_fps": slopes}


_AFFINE = st.fixed_dictionaries(
    {
        "base_ps": st.integers(0, 6 * MS),
        "prefill_token_ps": st.integers(0, MS // 10),
        "work_fps": st.integers(0, 10**12),
        "decode_row_ps": st.integers(0, MS // 5),
        "context_ps": st.integers(0, 10**6),
        "sequence_ps": st.integers(0, 10**6),
        "draft_token_ps": st.integers(0, MS // 5),
    }
)


def engines() -> st.SearchStrategy[dict[str, Any]]:
    return vllm_engines() | sglang_engines()


@st.composite
def sglang_engines(draw: st.DrawFn, *, page_size: int = 0) -> dict[str, Any]:
    """Of any page size, if none is given."""
    page_size = page_size or draw(st.sampled_from([1, 1, 4, 16, 64]))
    chunk = draw(st.sampled_from([None, 64, 64, 128, 320]))
    disable_radix_cache = draw(st.integers(0, 3)) == 0
    drafts = draw(st.sampled_from([0, 0, 1, 3, 5]))
    steps = draw(st.integers(1, drafts)) if drafts else 0
    mixed = not drafts and draw(st.booleans())
    hicache = None if disable_radix_cache else draw(st.none() | hicaches(page_size))
    return {
        "name": "sglang",
        "version": "0.5.23",
        "page_size": page_size,
        "max_total_tokens": draw(st.integers(3, 12)) * 64,
        "max_running_requests": draw(st.integers(1, 12)),
        "context_length": draw(st.sampled_from([96, 220, 4096])),
        "chunked_prefill_size": chunk,
        "max_prefill_tokens": draw(st.sampled_from([40, 200, 16384])),
        "enable_mixed_chunk": mixed,
        "schedule_policy": draw(st.sampled_from(["fcfs", "lpm"])),
        "schedule_conservativeness": draw(st.sampled_from([0.0, 0.05, 0.3, 1.0])),
        "disable_radix_cache": disable_radix_cache,
        "enable_priority_scheduling": draw(st.booleans()),
        "disable_priority_preemption": draw(st.integers(0, 3)) == 0,
        "schedule_low_priority_values_first": draw(st.booleans()),
        "priority_scheduling_preemption_threshold": draw(st.integers(0, 1)),
        "disable_overlap_schedule": draw(st.booleans()),
        "ignore_eos": draw(st.integers(0, 3)) == 0,
        "speculative_num_draft_tokens": drafts + 1 if drafts else 0,
        "acceptance": draw(drawn(steps)) if drafts else None,
        "decode_reserve_tokens": 2 * (drafts + 1) if drafts else 0,
        "hicache": hicache,
        "window": None if mixed or hicache else draw(st.none() | windows(page_size, chunk or 0)),
    }


@st.composite
def windows(draw: st.DrawFn, page_size: int, chunk: int) -> dict[str, Any]:
    """A pool that just holds a chunk and two windows, or a few more."""
    tokens = draw(st.sampled_from([1, 7, 16, 40, 100]))
    least = chunk + 2 * (-(-tokens // page_size) + 1) * page_size
    pages = -(-least // page_size) + 1 + draw(st.integers(0, 300)) // page_size
    interval = draw(st.sampled_from([1, 16, 128]))
    return {"tokens": tokens, "pool_tokens": pages * page_size, "eviction_interval": interval}


_SPEEDS = st.fixed_dictionaries(
    {"bytes_per_s": st.sampled_from([10**6, 10**8, 10**12]), "latency_ps": st.sampled_from([0, MS // 10, 30 * MS])}
)


@st.composite
def data_ranks(draw: st.DrawFn, *, in_step: bool | None = None) -> dict[str, Any]:
    balances = [{"kind": "round_robin"}, {"kind": "score", "interval_ps": 20 * MS}, {"kind": "score", "interval_ps": 1}]
    return {
        "ranks": draw(st.integers(2, 4)),
        "in_step": draw(st.booleans()) if in_step is None else in_step,
        "balance": draw(st.sampled_from(balances)),
        "sync_passes": draw(st.sampled_from([0, 0, 3, 32])),
    }


ONE_RANK = {"ranks": 1, "in_step": False, "balance": {"kind": "round_robin"}, "sync_passes": 0}


STAGED: dict[str, dict[str, Any]] = {
    "vllm": {
        "version": "0.32",
        "num_speculative_tokens": 0,
        "acceptance": None,
        "num_lookahead_tokens": 0,
        "eagle_block_drop": False,
        "num_speculative_tokens_per_batch_size": [],
        "offload": None,
        "groups": None,
    },
    "trtllm": {
        "capacity_scheduler_policy": "GUARANTEED_NO_EVICT",
        "max_draft_len": 0,
        "acceptance": None,
        "num_extra_kv_tokens": 0,
        "max_concurrency": None,
    },
    "sglang": {
        "disable_overlap_schedule": True,
        "speculative_num_draft_tokens": 0,
        "acceptance": None,
        "decode_reserve_tokens": 0,
        "hicache": None,
        "window": None,
    },
}
"""What an engine leaves out to run in stages."""


@st.composite
def pipelines(draw: st.DrawFn, first: dict[str, Any]) -> dict[str, Any]:
    kinds = [first, *draw(st.lists(step_times(), max_size=2))]
    stages = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=2, max_size=4))
    return {"kinds": kinds, "stages": stages}


@st.composite
def hicaches(draw: st.DrawFn, page_size: int) -> dict[str, Any]:
    """A token of 10 kB: copies take nothing beside a pass, or outlast several."""
    return {
        "write_policy": draw(st.sampled_from(["write_through", "write_through_selective", "write_back"])),
        "tokens": page_size * draw(st.integers(1, 1500 // page_size)),
        "layers": draw(st.integers(1, 3)),
        "token_bytes": 10_000,
        "load": draw(_SPEEDS),
        "store": draw(_SPEEDS),
    }


@st.composite
def vllm_engines(draw: st.DrawFn) -> dict[str, Any]:
    version = draw(st.sampled_from(["0.32", "0.32", "0.19"]))
    block_size = draw(st.sampled_from([1, 4, 8, 16, 64]))
    drafts = draw(st.sampled_from([0, 0, 0, 2, 3]))
    blocks = draw(st.integers(2, 60)) * max(1, 16 // block_size) + 1
    caches = draw(st.integers(0, 3)) > 0
    can_offload = version == "0.32" and caches
    chunked = draw(st.integers(0, 4)) > 0
    threshold = draw(st.sampled_from([0, 0, 8, 30]))
    speculates = draw(speculation(drafts)) if drafts else {}
    offload = draw(st.none() | offloads(block_size, drafts)) if can_offload else None
    apart = None
    if not caches or (version == "0.32" and offload is None and not speculates.get("eagle_block_drop")):
        apart = draw(st.none() | groups(states=not caches or (chunked and drafts == 0)))
        blocks *= 1 if apart is None else 1 + apart["count"]
    return {
        "name": "vllm",
        "version": version,
        "max_num_seqs": draw(st.integers(1, 12)),
        "max_num_batched_tokens": draw(st.sampled_from([16, 24, 40, 64, 300])) if chunked else 300,
        "max_model_len": draw(st.sampled_from([96, 160, 4096])),
        "block_size": block_size,
        "num_gpu_blocks": blocks,
        "enable_prefix_caching": caches,
        "enable_chunked_prefill": chunked,
        "long_prefill_token_threshold": threshold,
        "long_prefill_token_threshold_adaptive": version == "0.32" and threshold > 0 and draw(st.booleans()),
        "scheduling_policy": draw(st.sampled_from(["fcfs", "priority"])),
        "watermark_blocks": draw(st.integers(0, 3)) if version == "0.32" else 0,
        "scheduler_reserve_full_isl": draw(st.booleans()),
        "async_scheduling": draw(st.booleans()),
        "num_speculative_tokens": drafts,
        **speculates,
        "offload": offload,
        "groups": apart,
    }


@st.composite
def groups(draw: st.DrawFn, *, states: bool) -> dict[str, Any]:
    """Layers with windows, or with states."""
    return {
        "count": draw(st.integers(1, 3)),
        "window": draw(st.sampled_from([1, 9, 40, 200])),
        "has_state": states and draw(st.booleans()),
        "come_first": draw(st.booleans()),
    }


@st.composite
def offloads(draw: st.DrawFn, block_size: int, drafts: int) -> dict[str, Any]:
    """Host memory for a token of 10 kB: anything from a block to plenty, copies that take nothing or outlast passes."""
    return {
        "blocks": draw(st.integers(1, max(1, 3000 // block_size))),
        "block_bytes": 10_000 * block_size,
        "store": draw(_SPEEDS),
        "load": draw(_SPEEDS),
        "drops_last_block": drafts > 0 and draw(st.booleans()),
        "below": [draw(below(place, block_size)) for place in draw(_PLACES)],
    }


_PLACES = st.sampled_from([(), (), ("disk",), ("shared",), ("disk", "shared")])


def below(place: str, block_size: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "place": st.just(place),
            "blocks": st.integers(1, max(1, 6000 // block_size)),
            "write": _SPEEDS,
            "read": _SPEEDS,
            "write_policy": st.sampled_from(["through", "on_eviction"]),
        }
    )


@st.composite
def speculation(draw: st.DrawFn, drafts: int) -> dict[str, Any]:
    """vLLM's options of speculation: n-gram or a drafting head, off for large batches or not."""
    head = draw(st.booleans())
    schedule = st.lists(
        st.tuples(st.integers(2, 8), st.integers(0, drafts)), max_size=2, unique_by=lambda pair: pair[0]
    )
    return {
        "acceptance": draw(acceptances(drafts)),
        "num_lookahead_tokens": drafts if head else 0,
        "eagle_block_drop": head,
        "num_speculative_tokens_per_batch_size": draw(st.just([]) | schedule.map(sorted)),
    }


def acceptances(drafts: int) -> st.SearchStrategy[dict[str, Any]]:
    pattern = st.lists(st.integers(0, 3), min_size=1, max_size=4)
    cycle = st.fixed_dictionaries({"kind": st.just("cycle"), "pattern": pattern})
    return cycle | drawn(drafts) | drawn(drafts) | drawn(drafts)


def drawn(drafts: int) -> st.SearchStrategy[dict[str, Any]]:
    counts = st.lists(st.integers(0, 60), min_size=drafts + 1, max_size=drafts + 1).filter(any)
    return st.fixed_dictionaries({"kind": st.just("drawn"), "counts": counts, "seed": st.integers(0, 2**64 - 1)})


def telemetry() -> st.SearchStrategy[dict[str, int]]:
    """Fresh, sampled, or sampled and late."""
    times = [(0, 0), (MS, 0), (37 * MS, 0), (MS, 5 * MS), (37 * MS, 9 * MS)]
    return st.sampled_from(times).map(lambda time: {"interval_ps": time[0], "delay_ps": time[1]})


@st.composite
def kv_aware_routers(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "kind": "kv_aware",
        "overlap_score_credit": draw(st.sampled_from([1.0, 1.0, 0.3, 0.0])),
        "overlap_score_credit_decay": draw(st.sampled_from([0.0, 0.0, 0.7])),
        "prefill_load_scale": draw(st.sampled_from([1.0, 2.5, 0.0])),
        "decode_active_request_weight": draw(st.sampled_from([0.0, 1.3])),
        "temperature": draw(st.sampled_from([0.0, 0.0, 0.0, 0.5])),
        "track_prefill_tokens": draw(st.integers(0, 4)) > 0,
        "track_active_blocks": draw(st.integers(0, 4)) > 0,
        "assume_kv_reuse": draw(st.integers(0, 4)) > 0,
        "use_kv_events": draw(st.integers(0, 3)) > 0,
        "ttl_ps": draw(st.sampled_from([0, 60 * MS, 10**13])),
        "queue_threshold": draw(st.sampled_from([None, None, 0.5, 2.0])),
        "queue_policy": draw(st.sampled_from(["fcfs", "lcfs", "wspt"])),
    }


def _kind(name: str, **options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"kind": st.just(name), **options})


_EVICTION = st.sampled_from([7 * MS, 100 * MS, 10**13])
_LLM_D = _kind(
    "llm_d",
    queue_scorer_weight=st.sampled_from([2.0, 0.0]),
    kv_cache_utilization_scorer_weight=st.sampled_from([2.0, 0.5]),
    prefix_cache_scorer_weight=st.sampled_from([3.0, 0.0]),
    max_prefix_tokens_to_match=st.sampled_from([16, 64, 131_072]),
    lru_capacity_per_server=st.sampled_from([1, 12, 1000]),
)

ROUTERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    **{name: _kind(name) for name in ("round_robin", "random", "least_requests")},
    "least_tokens": _kind("least_tokens", expected_output_tokens=st.sampled_from([0, 20, 1000])),
    "power_of_two": _kind("power_of_two", telemetry=st.none() | telemetry()),
    "session_affinity": _kind(
        "session_affinity",
        assignment_mode=st.sampled_from(["random", "min_load", "min_group"]),
        max_idle_ps=st.sampled_from([MS, 300 * MS]),
        eviction_interval_ps=_EVICTION,
    ),
    "consistent_hashing": _kind(
        "consistent_hashing",
        key=st.sampled_from(["session", "prefix"]),
        prefix_tokens=st.sampled_from([5, 40]),
        virtual_nodes=st.sampled_from([1, 9]),
        max_load_skew=st.sampled_from([None, 1.0, 1.5]),
    ),
    "prefix_hash": _kind(
        "prefix_hash",
        prefix_token_count=st.sampled_from([5, 40]),
        load_factor=st.sampled_from([1.0, 1.25]),
        virtual_nodes=st.sampled_from([1, 9]),
    ),
    "cache_aware": _kind(
        "cache_aware",
        cache_threshold=st.sampled_from([0.0, 0.3]),
        balance_abs_threshold=st.sampled_from([0, 2, 64]),
        balance_rel_threshold=st.sampled_from([1.0, 1.5]),
        eviction_interval_ps=_EVICTION | st.just(0),
        max_tree_size=st.sampled_from([0, 100, 400, 10**6]),
    ),
    "llm_d": st.builds(lambda router, age: router | age, _LLM_D, telemetry()),
    "kv_aware": kv_aware_routers(),
}
"""Every native router, with thresholds that small worlds reach."""


def instances() -> st.SearchStrategy[dict[str, Any]]:
    several = st.fixed_dictionaries(
        {"count": st.sampled_from([2, 3]), "deal": st.sampled_from(["round_robin", "hash"])}
    )
    return st.just({"count": 1, "deal": "round_robin"}) | several


@st.composite
def worlds(draw: st.DrawFn, *, replicas: int = 4, sessions: bool = True) -> World:
    engine = draw(engines())
    run = {
        "replicas": draw(st.integers(1, replicas)),
        "engine": engine,
        "step_time": draw(step_times(drafts=any(engine.get(name) for name in DRAFTS))),
        "router": draw(st.one_of(*ROUTERS.values())),
        "instances": draw(instances()),
        "front": draw(fronts()),
        "seed": draw(st.integers(0, 2**32)),
        "leap": True,
        "stall_passes": 400,
        "users": draw(st.none() | st.integers(1, 9)),
        "check_admission": draw(st.booleans()),
        "max_passes": 20_000,
        "series_interval_ps": draw(st.sampled_from([MS, 40 * MS, 10**12])),
    }
    return World(draw(traces(sessions=sessions)), run)
