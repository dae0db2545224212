"""Where studies find their traces; without them, generated ones stand in, and the results say so."""

from __future__ import annotations

import os
from pathlib import Path

from servetwin import Trace
from servetwin.spec import make_spec
from servetwin.workload import open_workload, read_trace

FILES = {
    "conversation": "mooncake_conversation.jsonl",
    "toolagent_like": "toolagent_like_23608.jsonl",
    "agents": "agentic_coding_sessions.csv.gz",
}
"""In `traces/` of the folder that SERVETWIN_DATA names, else of ../shared/data."""

CONVERSATIONS = {
    "kind": "poisson",
    "rate_per_s": 3.4,
    "input_tokens": {"p50": 2500, "p99": 20000},
    "output_tokens": {"p50": 300, "p99": 1100},
    "prefix": {"groups": 20, "share": 0.5, "tokens": 1024},
    "sessions": {
        "turns": {"p50": 3, "p99": 12},
        "new_tokens": {"p50": 400, "p99": 6000},
        "think_time_s": {"p50": 20, "p99": 300},
    },
}
"""What stands in for a trace that is not there: conversations, some of them with one of 20 beginnings."""


def trace(name: str, requests: int | None = None, given: Path | None = None) -> tuple[Trace, str]:
    """The first `requests` of a trace, all if None, and what to call it."""
    folder = Path(os.environ.get("SERVETWIN_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = given or folder / "traces" / FILES[name]
    if path.exists():
        return read_trace(path, limit=requests, need_times=False), path.name
    workload = CONVERSATIONS | {"requests": requests or 5000}
    return open_workload(
        make_spec({"seed": 0, "workload": workload})
    ), f"generated conversations, for want of {path.name}"
