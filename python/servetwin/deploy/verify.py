"""How the deployment would be measured: AIPerf with the same requests."""

from __future__ import annotations

from .process import Plan
from .shell import one_line

WORKLOAD = "workload.jsonl"


def script(plan: Plan) -> str:
    """AIPerf replays the Mooncake rows of `workload.jsonl` at their times, or by as many users as the spec has."""
    users = plan.spec.users
    words = ["aiperf", "profile", "--model", plan.model, "--tokenizer", plan.model, "--url", '"$url"']
    words += ["--endpoint-type", "chat", "--streaming", "--input-file", WORKLOAD]
    words += ["--custom-dataset-type", "mooncake_trace"]
    words += ["--fixed-schedule"] if users is None else ["--concurrency", str(users)]
    words += ["--artifact-dir", "measured"]
    return f"""#!/usr/bin/env bash
# Sends this deployment what it was planned for. Give the address of its router or replica.
set -euo pipefail
url=${{1:?usage: ./verify.sh URL}}
cd "$(dirname "$0")"
{one_line(words)}
"""
