"""SGLang's prefill and decode replicas: leaping changes nothing, and requests end however memory and links fall."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin import _core

from .worlds import MS, records, sglang_engines, step_times, traces

ROUTERS = [{"kind": "round_robin"}, {"kind": "least_requests"}]
TIMES = ("arrival_ps", "scheduled_ps", "first_token_ps", "last_token_ps", "end_ps")
COMPLETED, REJECTED = 0, 1
PREDECESSOR = 5
"""The reason of a request whose predecessor did not complete."""


@dataclass(frozen=True)
class World:
    trace: dict[str, Any]
    run: dict[str, Any]

    def outcome(self, **changes: Any) -> dict[str, Any]:
        try:
            run = _core.simulate(_core.Trace.from_columns(**self.trace), json.dumps(self.run | changes))
        except _core.InputError as error:
            if "fails here" not in str(error):
                raise
            return {"failure": str(error), "leaps": 0}
        return records(run) | {"leaps": run.leaps}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Links fast and slow, pools in which few fit, and decode replicas that reserve little, so that they retract."""
    milliseconds = st.sampled_from([0, MS, 40 * MS])
    decode = draw(sglang_engines()) | {
        "disable_radix_cache": True,
        "hicache": None,
        "disaggregation": {
            "num_reserved_decode_tokens": draw(st.sampled_from([0, 1, 16, 60])),
            "decode_extra_slots": draw(st.sampled_from([0, 2, 10])),
            "polling_interval": draw(st.sampled_from([1, 1, 1, 3])),
        },
    }
    engines = {"prefill": draw(sglang_engines()), "decode": decode}
    pools = [
        {
            "role": role,
            "replicas": draw(st.integers(1, 2)),
            "engine": engine,
            "step_time": draw(step_times()),
            "router": draw(st.sampled_from(ROUTERS)),
        }
        for role, engine in engines.items()
    ]
    handover = {
        "order": "destination_first",
        "bootstrap_ps": draw(milliseconds),
        "control_ps": draw(st.sampled_from([0, 1, MS])),
        "setup_ps": draw(milliseconds),
        "timeout_ps": draw(st.sampled_from([30 * MS, 10**15])),
        "bytes_per_token": draw(st.sampled_from([1, 10_000])),
        "links": [0],
    }
    run = {
        "pools": pools,
        "links": [{"bytes_per_s": draw(st.sampled_from([10**6, 10**8, 10**12])), "latency_ps": draw(milliseconds)}],
        "handover": handover,
        "seed": 0,
        "leap": True,
        "stall_passes": 300,
        "users": draw(st.none() | st.integers(1, 5)),
        "check_admission": True,
        "max_passes": None,
        "series_interval_ps": draw(st.sampled_from([3 * MS, 50 * MS])),
    }
    return World(draw(traces()), run)


@settings(max_examples=300)
@given(worlds())
def test_leaping_changes_nothing(world: World) -> None:
    leapt, stepped = world.outcome(leap=True), world.outcome(leap=False)
    assert stepped["leaps"] == 0
    assert leapt | {"leaps": 0} == stepped


@settings(max_examples=150)
@given(worlds())
def test_all_requests_end(world: World) -> None:
    """Nobody decodes before its prompt is computed, and nobody waits for ever."""
    found = world.outcome()
    if "failure" in found:
        return
    times = list(zip(*(array("q", found[name]) for name in TIMES), strict=True))
    status, reason = array("B", found["status"]), array("B", found["reason"])
    tokens = array("I", found["output_tokens"])
    for row in range(len(status)):
        if status[row] == COMPLETED:
            assert times[row] == tuple(sorted(times[row]))
            assert 1 <= tokens[row] <= max(1, world.trace["output_tokens"][row])
        else:
            assert status[row] == REJECTED or reason[row] == PREDECESSOR
