"""Random pools of prefill and decode replicas, small enough to starve, preempt, stall and time out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from servetwin import _core

from .test_trtllm import engines as trtllm_engines
from .worlds import (
    COLUMNS,
    MS,
    ONE_RANK,
    ROUTERS,
    SERIES,
    STAGED,
    data_ranks,
    fronts,
    instances,
    pipelines,
    sglang_engines,
    step_times,
    traces,
    vllm_engines,
)

HANDOVERS = (
    "prefill_replica",
    "prefilled_ps",
    "decode_routed_ps",
    "transfer_start_ps",
    "transfer_end_ps",
    "transferred_tokens",
)
ENGINES = {
    "vllm": (vllm_engines, "source_first"),
    "vllm_layerwise": (vllm_engines, "layerwise"),
    "sglang": (sglang_engines, "destination_first"),
    "trtllm": (trtllm_engines, "source_first"),
}
"""Those that hand over, and how."""

OF_DECODE = {
    "vllm": {},
    "vllm_layerwise": {},
    "trtllm": {},
    "sglang": {
        "disable_radix_cache": True,
        "hicache": None,
        "disaggregation": {"num_reserved_decode_tokens": 16, "decode_extra_slots": 2, "polling_interval": 1},
    },
}
"""What decode replicas of an engine have that others have not."""


OF_POOLS = {
    "vllm": {"groups": None},
    "vllm_layerwise": {"groups": None},
    "sglang": {},
    "trtllm": {
        "capacity_scheduler_policy": "GUARANTEED_NO_EVICT",
        "batch_wait_timeout_iters": 0,
        "batch_wait_tokens": 0,
    },
}
"""What replicas of an engine have on either side."""


@dataclass(frozen=True)
class Disaggregated:
    trace: dict[str, Any]
    run: dict[str, Any]

    def records(self, **changes: Any) -> dict[str, Any]:
        """All that a run leaves behind, or the error that the engine itself would raise."""
        trace = _core.Trace.from_columns(**self.trace)
        try:
            run = _core.simulate(trace, json.dumps(self.run | changes))
        except _core.InputError as error:
            if "fails here" not in str(error):
                raise
            return {"failure": str(error)}
        return {
            "run": run.status,
            "passes": run.passes,
            "leaps": run.leaps,
            "gaps": run.itl(),
            "summary": run.summary("{}"),
            **{name: run.column(name) for name in (*COLUMNS, *HANDOVERS)},
            **{f"series.{name}": run.series(name) for name in SERIES},
        }


_TIMES = st.sampled_from([0, 0, 1, MS // 3, MS, 8 * MS])


@st.composite
def pool(draw: st.DrawFn, role: str, engine: dict[str, Any]) -> dict[str, Any]:
    router = draw(st.one_of(*ROUTERS.values()))
    if role == "decode" and router["kind"] == "kv_aware":
        router = router | {"track_prefill_tokens": False, "queue_threshold": None}
    ranks = st.just(ONE_RANK)
    return {
        "role": role,
        "replicas": draw(st.integers(1, 3)),
        "engine": engine,
        "step_time": draw(step_times()),
        "data": draw(ranks if engine["name"] == "trtllm" else ranks | data_ranks()),
        "router": router,
        "instances": draw(instances()),
    }


@st.composite
def disaggregated(draw: st.DrawFn, name: str) -> Disaggregated:
    engines, order = ENGINES[name]
    source = draw(engines())
    sink = draw(sglang_engines(page_size=source["page_size"]) if name == "sglang" else engines())
    pools = [
        draw(pool("prefill", source | OF_POOLS[name])),
        draw(pool("decode", sink | OF_DECODE[name] | OF_POOLS[name])),
    ]
    staged = name == "vllm" and draw(st.integers(0, 3)) == 0
    if staged:
        prefill = pools[0]
        apart = prefill["data"] | {"in_step": False}
        prefill |= {"engine": prefill["engine"] | STAGED["vllm"], "data": apart}
        prefill["pipeline"] = draw(pipelines(prefill["step_time"]))
    pools[1]["front"] = {"request_ps": draw(_TIMES), "prompt_token_ps": draw(st.sampled_from([0, 0, MS // 10]))}
    speeds = st.sampled_from([10**6, 10**7, 10**9, 10**12])
    links = [{"bytes_per_s": draw(speeds), "latency_ps": draw(_TIMES)}]
    crossed = [0] if draw(st.booleans()) else []
    for one in pools:
        ports = []
        for _ in range(one["replicas"]):
            ports.append({"nvlink_domain": draw(st.integers(0, 1)), "nvlink": len(links), "nic": len(links) + 1})
            links += [{"bytes_per_s": draw(speeds), "latency_ps": 0}, {"bytes_per_s": draw(speeds), "latency_ps": 1}]
        one["ports"] = ports
    run = {
        "pools": pools,
        "links": links,
        "handover": {
            "order": order,
            "layers": draw(st.sampled_from([1, 3, 32])) if order == "layerwise" else None,
            "bootstrap_ps": draw(_TIMES),
            "control_ps": draw(_TIMES),
            "setup_ps": draw(_TIMES),
            "timeout_ps": draw(st.sampled_from([MS, 20 * MS, 300 * MS, 10**15])),
            "local_prefill_tokens": None if name in ("sglang", "trtllm") else draw(st.none() | st.integers(0, 80)),
            "pushes": staged or name == "trtllm" or (name == "vllm" and draw(st.integers(0, 3)) == 0),
            "bytes_per_token": draw(st.sampled_from([1, 1000, 10**6])),
            "links": crossed,
        },
        "front": draw(fronts()),
        "seed": draw(st.integers(0, 2**32)),
        "leap": True,
        "stall_passes": 400,
        "users": draw(st.none() | st.integers(1, 9)),
        "check_admission": True,
        "max_passes": 20_000,
        "series_interval_ps": draw(st.sampled_from([MS, 40 * MS, 10**12])),
    }
    return Disaggregated(draw(traces()), run)
